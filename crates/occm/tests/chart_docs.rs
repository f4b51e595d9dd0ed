//! The page about the chart says what the chart does.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

/// The values with their defaults and meanings, one row each.
fn values_table() -> String {
    let schema: Value = serde_json::from_str(&text("deploy/chart/values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&text("deploy/chart/values.yaml")).unwrap();
    let mut rows = vec![
        "| Value | Default | Means |".to_owned(),
        "| --- | --- | --- |".to_owned(),
    ];
    walk("", &schema, &values, &mut rows);
    rows.join("\n") + "\n"
}

fn walk(path: &str, schema: &Value, values: &Value, rows: &mut Vec<String>) {
    let properties = schema["properties"].as_object().unwrap();
    for (name, value) in values.as_object().unwrap() {
        let at = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let inner = &properties
            .get(name)
            .unwrap_or_else(|| panic!("the schema lacks {at}"));
        if inner["properties"].is_object() {
            walk(&at, inner, value, rows);
        } else {
            let meaning = inner["description"]
                .as_str()
                .unwrap_or_else(|| panic!("{at} has no description"));
            rows.push(format!("| `{at}` | `{value}` | {meaning} |"));
        }
    }
    let unknown = properties
        .keys()
        .filter(|name| values[*name].is_null() && *name != "global");
    assert_eq!(
        unknown.count(),
        0,
        "each value below `{path}` has a default in values.yaml"
    );
}

#[test]
fn the_table_of_values_is_that_of_the_schema() {
    let page = text("docs/user/install.md");
    let (before, rest) = page.split_once("<!-- values -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- /values -->\n").unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let page = format!(
            "{before}<!-- values -->\n{}<!-- /values -->\n{after}",
            values_table()
        );
        std::fs::write(repository().join("docs/user/install.md"), page).unwrap();
        return;
    }
    assert!(
        table == values_table(),
        "docs/user/install.md is stale: UPDATE=1 cargo test -p occm --test chart_docs"
    );
}

#[test]
fn the_table_of_rights_is_that_of_the_role() {
    let template = text("deploy/chart/templates/_rbac.tpl");
    let (role, _) = template.split_once("{{ include \"occm.binding\"").unwrap();
    let list = |line: &str| -> Vec<String> {
        let (_, list) = line.split_once('[').unwrap();
        let list = list.trim_end().trim_end_matches(']');
        list.split(", ")
            .map(|one| one.trim_matches('"').to_owned())
            .collect()
    };
    let lines: Vec<&str> = role.lines().collect();
    let mut given = Vec::new();
    for (number, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("- apiGroups:"))
    {
        let group = list(line).remove(0);
        let names: Vec<String> = list(lines[number + 1])
            .iter()
            .map(|resource| match (group.as_str(), resource.split_once('/')) {
                ("", _) => format!("`{resource}`"),
                (group, Some((kind, part))) => format!("`{kind}.{group}/{part}`"),
                (group, None) => format!("`{resource}.{group}`"),
            })
            .collect();
        given.push(format!(
            "| {} | {} |",
            names.join(", "),
            list(lines[number + 2]).join(", ")
        ));
    }
    let page = text("docs/user/install.md");
    let (_, rest) = page.split_once("<!-- rights -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- /rights -->").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert_eq!(rows.len(), given.len(), "{given:#?}");
    for (row, given) in rows.iter().zip(&given) {
        assert!(row.starts_with(given), "{row}\n{given}");
    }
}
