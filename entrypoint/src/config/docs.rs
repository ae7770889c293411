//! `docs/configuration.md`, made from the declarations. Owns the words around the tables.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    qdrant::{SETTINGS, Value, When},
    rules::RULES,
    vars::{ALL, Declared, Group},
};

const HEAD: &str = "\
# Configuration

<!-- Made from entrypoint/src/config by its tests. To change it, change the declarations there and run
     UPDATE_DOCS=1 cargo test -p entrypoint --test config_docs -->

Everything is configured by environment variables. `entrypoint check-config` prints the values in
effect and where each comes from, with secrets hidden. A value that cannot be read, a contradiction or
an unknown `ENTRYPOINT_` variable ends the program with exit code 64 before anything is started; every
mistake is reported, one line each. An empty value is a mistake too: remove the variable to get its
default.
";

const GROUPS: &[(Group, &str)] = &[
    (Group::Cluster, "Cluster"),
    (Group::Discovery, "Finding the other tasks"),
    (Group::Store, "Store"),
    (Group::Sets, "Snapshots"),
    (Group::Process, "Programs and ports"),
    (Group::Identity, "Identity"),
    (Group::Timing, "Timing"),
    (Group::Healing, "Healing"),
    (Group::Stopping, "Stopping and restarting"),
    (Group::Logs, "Logs"),
    (Group::Ecs, "Given by ECS"),
];

const KINDS_HEAD: &str = "
## Kinds of values

| Kind | What to write |
|---|---|
";

const IDENTITY: &str = "\
On ECS all of this comes from task metadata; the variables are for running elsewhere, and win where
they are set. The address in task metadata must belong to a network interface of this machine;
`ENTRYPOINT_ADDRESS` is taken as it is.
";

const QDRANT: &str = "
## Qdrant's own variables

Every `QDRANT__` variable goes to Qdrant untouched. Qdrant compares their names without regard to case;
the entrypoint knows them in upper case only, and refuses another spelling of those in the two tables
below rather than overlook it. Qdrant's configuration files are not read: ports, keys and paths
that differ from the defaults belong in the environment. An empty API key is no API key, as in
Qdrant 1.19.

`QDRANT_URI` and `QDRANT_BOOTSTRAP` are not settings but arguments of Qdrant; what they mean for the
entrypoint is not part of this page.

### Read by the entrypoint

";

const SET: &str = "
### Set by the entrypoint

Only where you have not set the variable yourself; your value wins.

| Variable | Value | When | Why |
|---|---|---|---|
";

const RULES_HEAD: &str = "
## Rules between variables

";

/// The text of `docs/configuration.md`.
pub fn render_markdown() -> String {
    let mut text = HEAD.to_owned();
    // Writing to a String cannot fail; the results are of no use.
    for (group, title) in GROUPS {
        let _ = write!(text, "\n## {title}\n\n");
        if *group == Group::Identity {
            let _ = writeln!(text, "{IDENTITY}");
        }
        table(&mut text, *group);
    }
    text.push_str(QDRANT);
    table(&mut text, Group::Qdrant);
    text.push_str(SET);
    for setting in SETTINGS {
        let when = match setting.when {
            When::Always => "always".to_owned(),
            When::WithApiKey => "`QDRANT__SERVICE__API_KEY` is set".to_owned(),
            When::Without(other) => format!("`{other}` is not set"),
        };
        let value = match setting.value {
            Value::Text(text) => format!("`{text}`"),
            Value::Number(how, _) => how.to_owned(),
            Value::InStorage(below) => format!("`{below}` in `QDRANT__STORAGE__STORAGE_PATH`"),
        };
        let _ = writeln!(
            text,
            "| `{}` | {value} | {when} | {} |",
            setting.name, setting.why
        );
    }
    text.push_str(RULES_HEAD);
    for rule in RULES {
        let _ = writeln!(text, "- {}", rule.text);
    }
    text.push_str(KINDS_HEAD);
    let kinds: BTreeMap<_, _> = ALL.iter().map(|var| (var.kind(), var.form())).collect();
    // A kind in backquotes lists its words itself.
    for (kind, form) in kinds.iter().filter(|(kind, _)| !is_list_of_words(kind)) {
        let _ = writeln!(text, "| {kind} | {form} |");
    }
    text
}

fn is_list_of_words(kind: &str) -> bool {
    kind.starts_with('`') && kind.ends_with('`')
}

fn table(text: &mut String, group: Group) {
    text.push_str("| Variable | Default | Value | Meaning |\n|---|---|---|---|\n");
    for var in ALL.iter().filter(|var| var.group() == group) {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            var.name(),
            default(*var),
            var.kind(),
            var.doc()
        );
    }
}

fn default(var: &dyn Declared) -> String {
    match (var.derived(), var.default_text()) {
        (Some(how), _) => how.to_owned(),
        (None, Some(value)) => format!("`{value}`"),
        (None, None) => "none".to_owned(),
    }
}
