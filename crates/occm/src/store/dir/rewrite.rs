//! Changes to the text of a YAML document that leave the rest of it as people wrote it: layout, order, comments.
//!
//! Each changed field is looked for by its indentation and replaced where it stands. Nothing is believed: the caller reads
//! the result again, and writes the whole document anew where it does not say what it shall.

use serde_json::{Map, Value};

/// The document `text`, which says `old`, so that it says `new`; `None` where that cannot be done in place.
pub(super) fn rewritten(text: &str, old: &Value, new: &Value) -> Option<String> {
    let mut changes = Vec::new();
    differences(&mut Vec::new(), old, new, &mut changes)?;
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for change in &changes {
        apply(&mut lines, change)?;
    }
    Some(lines.join("\n"))
}

/// A field that has another value, or none any more.
struct Change {
    path: Vec<String>,
    new: Option<Value>,
}

/// Collects the smallest fields that differ; `None` if the whole differs.
fn differences(path: &mut Vec<String>, old: &Value, new: &Value, into: &mut Vec<Change>) -> Option<()> {
    if old == new {
        return Some(());
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if path.is_empty() {
            return None;
        }
        into.push(Change {
            path: path.clone(),
            new: Some(new.clone()),
        });
        return Some(());
    };
    // A map that loses its last field is written as a whole.
    if after.is_empty() && !path.is_empty() {
        into.push(Change {
            path: path.clone(),
            new: Some(new.clone()),
        });
        return Some(());
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        let mut path = path.clone();
        path.push(name.clone());
        into.push(Change { path, new: None });
    }
    for (name, value) in after {
        path.push(name.clone());
        match before.get(name) {
            Some(known) => differences(path, known, value, into)?,
            None => into.push(Change {
                path: path.clone(),
                new: Some(value.clone()),
            }),
        }
        path.pop();
    }
    Some(())
}

/// Where a field stands: its first line, the line after its last, its indentation.
struct Place {
    first: usize,
    end: usize,
    indent: usize,
}

fn apply(lines: &mut Vec<String>, change: &Change) -> Option<()> {
    let (name, parents) = change.path.split_last()?;
    let mut block = Place {
        first: 0,
        end: lines.len(),
        indent: 0,
    };
    for (depth, parent) in parents.iter().enumerate() {
        let place = find(lines, &block, parent)?;
        let rest = after_key(lines.get(place.first)?, parent)?;
        if !rest.trim().is_empty() && !rest.trim_start().starts_with('#') {
            let inner = change.path.get(depth + 1..)?;
            return apply_in_line(lines.get_mut(place.first)?, inner, change.new.as_ref()?);
        }
        let children = place.first + 1..place.end;
        let indent = lines
            .get(children.clone())?
            .iter()
            .find(|line| counts(line))
            .map(|line| indent_of(line))?;
        if indent <= place.indent && !parents.is_empty() && indent != place.indent + 2 && indent == 0 {
            return None;
        }
        block = Place {
            first: children.start,
            end: children.end,
            indent,
        };
    }
    match (find(lines, &block, name), &change.new) {
        (Some(place), Some(new)) => {
            let written = replaced(lines.get(place.first)?, name, &place, new)?;
            lines.splice(place.first..place.end, written);
        }
        (Some(place), None) => {
            lines.drain(place.first..place.end);
        }
        (None, Some(new)) => {
            let at = last_of(lines, &block);
            lines.splice(at..at, written(name, block.indent, new)?);
        }
        (None, None) => return None,
    }
    Some(())
}

/// The line of a key in a block, and where its value ends.
fn find(lines: &[String], block: &Place, name: &str) -> Option<Place> {
    let first = (block.first..block.end).find(|at| {
        lines.get(*at).is_some_and(|line| {
            counts(line) && indent_of(line) == block.indent && after_key(line, name).is_some()
        })
    })?;
    let mut end = first + 1;
    let mut last = end;
    while end < block.end {
        let line = lines.get(end)?;
        let item_of_list = indent_of(line) == block.indent && line.trim_start().starts_with("- ");
        if counts(line) && indent_of(line) <= block.indent && !item_of_list {
            break;
        }
        end += 1;
        // Blank lines and comments after the value belong to what follows.
        if counts(line) {
            last = end;
        }
    }
    Some(Place {
        first,
        end: last,
        indent: block.indent,
    })
}

/// The line after the last one of a block that says something.
fn last_of(lines: &[String], block: &Place) -> usize {
    (block.first..block.end)
        .rev()
        .find(|at| lines.get(*at).is_some_and(|line| counts(line)))
        .map_or(block.first, |at| at + 1)
}

fn counts(line: &str) -> bool {
    let text = line.trim();
    !text.is_empty() && !text.starts_with('#')
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// What stands after `name:`; `None` if the line does not begin with it.
fn after_key<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let line = line.trim_start_matches(' ');
    let bare = line.strip_prefix(name);
    let quoted = || {
        ['"', '\'']
            .iter()
            .find_map(|quote| line.strip_prefix(&format!("{quote}{name}{quote}")))
    };
    let rest = bare.or_else(quoted)?.strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with([' ', '\r'])).then_some(rest)
}

/// A field of a map in braces on one line.
fn apply_in_line(line: &mut String, path: &[String], new: &Value) -> Option<()> {
    let name = path.last()?;
    let mark = [format!("{{{name}:"), format!(" {name}:"), format!(",{name}:")];
    let start = mark
        .iter()
        .find_map(|mark| Some(line.find(mark.as_str())? + mark.len()))?;
    let rest = line.get(start..)?;
    let blank = rest.len() - rest.trim_start().len();
    let length = match rest.get(blank..)?.chars().next()? {
        quote @ ('"' | '\'') => rest.get(blank + 1..)?.find(quote)? + 2,
        _ => rest.get(blank..)?.find([',', '}', ' '])?,
    };
    let text = inline(new)?;
    line.replace_range(start + blank..start + blank + length, &text);
    Some(())
}

/// A line whose value is replaced; a comment behind a simple value stays.
fn replaced(line: &str, name: &str, place: &Place, new: &Value) -> Option<Vec<String>> {
    let rest = after_key(line, name)?;
    let simple = place.end == place.first + 1 && scalar(new).is_some();
    if !simple {
        return written(name, place.indent, new);
    }
    let start = line.len() - rest.len();
    let comment = rest.find(" #").map_or("", |at| {
        let value = rest.get(..at).unwrap_or_default().trim_end().len();
        rest.get(value..).unwrap_or_default()
    });
    let head = line.get(..start)?;
    Some(vec![format!("{head} {}{comment}", scalar(new)?)])
}

/// A field as new lines.
fn written(name: &str, indent: usize, value: &Value) -> Option<Vec<String>> {
    let blank = " ".repeat(indent);
    let name = plain(name);
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(|item| scalar(item).is_some()) => {
            let items = items
                .iter()
                .filter_map(|item| Some(format!("{blank}- {}", scalar(item)?)));
            Some(std::iter::once(format!("{blank}{name}:")).chain(items).collect())
        }
        Value::Object(fields) if !fields.is_empty() => {
            let mut lines = vec![format!("{blank}{name}:")];
            for (field, value) in fields {
                lines.extend(written(field, indent + 2, value)?);
            }
            Some(lines)
        }
        other => Some(vec![format!("{blank}{name}: {}", inline(other)?)]),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Array(_) | Value::Object(_) => None,
        other => inline(other),
    }
}

/// A value on one line; JSON is YAML.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(plain(text)),
        other => serde_json::to_string(other).ok(),
    }
}

/// A text without quotes where it cannot be taken for anything else.
fn plain(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '/');
    let starts = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    if starts && text.chars().all(word) && !reserved.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    serde_json::to_string(text).unwrap_or_default()
}

/// A whole document, after the comments that the old one began with.
pub(super) fn whole(old: &str, object: &Value) -> Option<String> {
    let comments: String = old
        .split_inclusive('\n')
        .skip_while(|line| line.trim().is_empty())
        .take_while(|line| line.trim_start().starts_with('#'))
        .collect();
    Some(format!("{comments}{}", document(object)?))
}

/// A new document, in the order that people write.
pub(super) fn document(object: &Value) -> Option<String> {
    let fields = object.as_object()?;
    let mut lines = Vec::new();
    for name in ["apiVersion", "kind", "metadata", "spec"] {
        let Some(value) = fields.get(name) else { continue };
        match (name, value) {
            ("metadata", Value::Object(metadata)) => {
                lines.push("metadata:".to_owned());
                for (field, value) in ordered(metadata) {
                    lines.extend(written(field, 2, value)?);
                }
            }
            _ => lines.extend(written(name, 0, value)?),
        }
    }
    lines.push(String::new());
    Some(lines.join("\n"))
}

fn ordered(metadata: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    const FIRST: [&str; 2] = ["namespace", "name"];
    let head = FIRST.iter().filter_map(|name| metadata.get_key_value(*name));
    let tail = metadata
        .iter()
        .filter(|(name, _)| !FIRST.contains(&name.as_str()));
    head.chain(tail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "\
# the web server
apiVersion: occm.dev/v1alpha1
kind: Certificate
metadata: {name: web, labels: {app: web}}   # who
spec:
  issuerRef:
    name: lab-ca  # the old one
  commonName: web.example
  # all names
  dnsNames:
  - web.example
  - www.example

  secretName: web
";

    fn parsed(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    fn edit(change: impl FnOnce(&mut Value)) -> String {
        let old = parsed(TEXT);
        let mut new = old.clone();
        change(&mut new);
        let text = rewritten(TEXT, &old, &new).unwrap();
        assert_eq!(parsed(&text), new, "{text}");
        text
    }

    #[test]
    fn a_changed_value_is_changed_where_it_stands() {
        let text = edit(|object| object["spec"]["issuerRef"]["name"] = json!("new-ca"));
        assert_eq!(text, TEXT.replace("lab-ca", "new-ca"));
    }

    #[test]
    fn a_value_in_braces_is_changed_where_it_stands() {
        let text = edit(|object| object["metadata"]["labels"]["app"] = json!("7"));
        assert_eq!(text, TEXT.replace("app: web", "app: \"7\""));
    }

    #[test]
    fn a_list_is_replaced_and_the_comments_around_it_stay() {
        let text = edit(|object| object["spec"]["dnsNames"] = json!(["a.example"]));
        assert!(
            text.contains("  # all names\n  dnsNames:\n  - a.example\n\n  secretName: web\n"),
            "{text}"
        );
    }

    #[test]
    fn fields_come_and_go() {
        let text = edit(|object| {
            object["spec"]["issuerRef"]["namespace"] = json!("occm");
            object["spec"]["privateKey"] = json!({"algorithm": "RSA", "size": 3072});
            object["spec"].as_object_mut().unwrap().remove("dnsNames");
        });
        assert!(
            text.contains("    name: lab-ca  # the old one\n    namespace: occm\n"),
            "{text}"
        );
        assert!(
            text.contains("  privateKey:\n    algorithm: RSA\n    size: 3072\n"),
            "{text}"
        );
        assert!(!text.contains("www.example"), "{text}");
    }

    #[test]
    fn a_whole_document_keeps_the_comments_at_its_head() {
        let text = whole(TEXT, &parsed(TEXT)).unwrap();
        assert!(
            text.starts_with(
                "# the web server\napiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata:\n  name: web\n"
            ),
            "{text}"
        );
        assert_eq!(parsed(&text), parsed(TEXT));
    }
}
