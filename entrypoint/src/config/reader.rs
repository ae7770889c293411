//! Reads variables from an environment and remembers what was found and what was wrong. Owns the rules
//! about names (unknown, misspelt, not text); knows no single variable.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
};

use super::{
    Effective, Source,
    env::Env,
    error::{ConfigError, Printable},
    nearest::nearest,
    parse::Value,
    qdrant::SETTINGS,
    vars::{ALL, PREFIX, QDRANT_PREFIX, Var},
};

/// Reads from one snapshot of the environment.
pub(super) struct Reader {
    entries: BTreeMap<OsString, OsString>,
    /// What each variable that was read came to.
    pub(super) effective: Vec<Effective>,
    pub(super) errors: Vec<ConfigError>,
    /// Variables whose value could not be read; rules about them would only add noise.
    pub(super) broken: BTreeSet<&'static str>,
}

impl Reader {
    /// Takes the environment and refuses the names that nobody knows.
    pub(super) fn new(env: &impl Env) -> Self {
        let entries = env.entries();
        let errors = entries
            .keys()
            .filter_map(|name| bad_name(&name.to_string_lossy()))
            .collect();
        Self {
            entries,
            effective: Vec::new(),
            errors,
            broken: BTreeSet::new(),
        }
    }

    /// Whether the environment holds the variable, with any value.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.entries.contains_key(std::ffi::OsStr::new(name))
    }

    /// Whether the environment holds the variable with an empty value.
    pub(super) fn is_empty(&self, name: &str) -> bool {
        self.entries
            .get(std::ffi::OsStr::new(name))
            .is_some_and(|value| value.is_empty())
    }

    /// The value of a variable; its default when it is not set or cannot be read (the error is noted).
    pub(super) fn read<T: Value>(&mut self, var: &'static Var<T>) -> T {
        let value = match self.parse(var) {
            Ok(Some(value)) => {
                self.note(var.name, value.show(), Source::Set);
                return value;
            }
            Ok(None) => (var.default)(),
            Err(error) => {
                self.errors.push(error);
                self.broken.insert(var.name);
                (var.default)()
            }
        };
        self.note(var.name, value.show(), Source::Default);
        value
    }

    /// The value of a variable that otherwise follows from others.
    pub(super) fn read_or<T: Value>(&mut self, var: &'static Var<Option<T>>, otherwise: T) -> T {
        let value = self.read(var).unwrap_or(otherwise);
        if let Some(last) = self.effective.last_mut() {
            last.value = value.show();
        }
        value
    }

    /// Notes what a variable that was read comes to, once everything that it follows from was read.
    pub(super) fn settle(&mut self, name: &str, value: &impl Value) {
        let noted = self.effective.iter_mut().find(|noted| noted.name == name);
        if let Some(noted) = noted {
            noted.value = value.show();
        }
    }

    fn parse<T: Value>(&self, var: &Var<T>) -> Result<Option<T>, ConfigError> {
        let Some(raw) = self.entries.get(std::ffi::OsStr::new(var.name)) else {
            return Ok(None);
        };
        let Some(text) = raw.to_str() else {
            return Err(ConfigError::NotText {
                variable: Printable::new(var.name),
            });
        };
        if text.is_empty() && var.empty_is_unset {
            return Ok(None);
        }
        let parsed = if text.is_empty() {
            Err("the value is empty".to_owned())
        } else {
            T::parse(text)
        };
        parsed.map(Some).map_err(|problem| ConfigError::Invalid {
            variable: var.name,
            value: if T::SECRET {
                Printable::hidden()
            } else {
                Printable::quoted(text)
            },
            problem,
            advice: format!("give {}", T::FORM),
        })
    }

    fn note(&mut self, name: &'static str, value: Option<String>, source: Source) {
        self.effective.push(Effective {
            name,
            value,
            source,
        });
    }
}

/// Refuses unknown variables of ours, and variables of Qdrant that it reads and we would overlook:
/// Qdrant compares names without regard to case (crate `config` 0.15, env.rs:269), we do not.
fn bad_name(name: &str) -> Option<ConfigError> {
    let known = |known: &str| ALL.iter().any(|var| var.name() == known);
    let upper = name.to_ascii_uppercase();
    let names: Vec<&'static str> = if upper.starts_with(PREFIX) && !known(name) {
        ALL.iter()
            .map(|var| var.name())
            .filter(|known| known.starts_with(PREFIX))
            .collect()
    } else if upper.starts_with(QDRANT_PREFIX)
        && upper != name
        && (known(&upper) || SETTINGS.iter().any(|setting| setting.name == upper))
    {
        let settings = SETTINGS.iter().map(|setting| setting.name);
        ALL.iter()
            .map(|var| var.name())
            .chain(settings)
            .filter(|known| *known == upper)
            .collect()
    } else {
        return None;
    };
    nearest(name, names).map(|nearest| ConfigError::Unknown {
        variable: Printable::new(name),
        nearest,
    })
}
