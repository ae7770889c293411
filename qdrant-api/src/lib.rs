//! The few Qdrant REST calls this project uses, typed.
