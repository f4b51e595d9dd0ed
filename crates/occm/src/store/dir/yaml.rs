//! YAML files as people write them: which documents are in them, and what is wrong where.
//!
//! Each document stands for itself: a broken one never hides the others of its file. Values of Secrets never appear
//! in an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::model::certificate::Certificate;
use crate::model::field::{FieldError, FieldErrors, shown};
use crate::model::issuer::Issuer;
use crate::model::object::{API_VERSION, DEFAULT_NAMESPACE, GROUP, Kind, Metadata, ObjectKey};
use crate::model::plan::{InputKind, InputRef};
use crate::store::dir::any::{AnyObject, ObjectId};
use crate::store::dir::layout::{NAME_ALLOWED, is_data_key, is_object_name};
use crate::store::{ContentHash, InputFacts};

/// Most documents in one file.
const MAX_DOCUMENTS: usize = 10_000;
/// Deepest nesting in a document.
const MAX_DEPTH: usize = 32;
/// Most values in a document.
const MAX_NODES: usize = 100_000;
/// Top-level fields of an object.
const OBJECT_FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

/// Values of an input.
pub(super) type InputData = BTreeMap<String, pki::Secret>;

/// One document of a file.
#[derive(Debug)]
pub(super) struct Document {
    /// Line of the file that it begins at, from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) body: Body,
}

/// What a document is.
#[derive(Debug)]
pub(super) enum Body {
    /// An Issuer or a Certificate, or what is wrong with it.
    Object(ObjectId, Result<AnyObject, FieldErrors>),
    /// An object that was told and is read again when it is needed: it is held once, not twice.
    Told(ObjectId),
    /// A Secret or a ConfigMap, or what is wrong with it. Only the hash is kept.
    Input(InputRef, Result<InputFacts, FieldErrors>),
    /// It cannot be told which object it is: line in the file and problem.
    Lost(usize, String),
    /// An object that is not for occm.
    Foreign(String),
}

/// Reads all documents of a file.
pub(super) fn documents(text: &str) -> Vec<Document> {
    let mut all = Vec::new();
    for (line, piece) in pieces(text) {
        if all.len() == MAX_DOCUMENTS {
            let body = Body::Lost(line, format!("more than {MAX_DOCUMENTS} documents in one file"));
            all.push(Document { line, body });
            break;
        }
        if let Some(body) = document(piece, line) {
            all.push(Document { line, body });
        }
    }
    all
}

/// Reads one object of a file again, if its document still begins at that line.
pub(super) fn object_at(text: &str, line: usize, id: &ObjectId) -> Option<AnyObject> {
    let (line, piece) = pieces(text).into_iter().find(|(start, _)| *start == line)?;
    match document(piece, line)? {
        Body::Object(found, Ok(object)) if found == *id => Some(object),
        _ => None,
    }
}

/// Reads one document as it is; `None` where that is not possible.
pub(super) fn value(piece: &str) -> Option<serde_json::Value> {
    parse(piece, 1).ok()
}

/// What the document of an input says besides its values.
pub(super) fn frame(piece: &str) -> serde_json::Map<String, serde_json::Value> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Frame {
        metadata: Option<serde_json::Value>,
        #[serde(rename = "type")]
        kind: Option<String>,
        immutable: Option<bool>,
    }
    let frame: Frame = parse(piece, 1).unwrap_or_default();
    let fields = [
        ("metadata", frame.metadata),
        ("type", frame.kind.map(Into::into)),
        ("immutable", frame.immutable.map(Into::into)),
    ];
    let there = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    there.collect()
}

/// Reads an object from its document; `None` if it is broken or another one.
pub(super) fn object_in(piece: &str, id: &ObjectId) -> Option<AnyObject> {
    match document(piece, 1)? {
        Body::Object(found, Ok(object)) if found == *id => Some(object),
        _ => None,
    }
}

/// The line of a field, such as `spec.dnsNames[2]`, of the document that begins at `line`; of what holds the field, if it
/// is written in one line with others or is missing.
pub(super) fn line_of(text: &str, line: usize, path: &str) -> Option<usize> {
    let (start, piece) = pieces(text).into_iter().find(|(start, _)| *start == line)?;
    let lines: Vec<&str> = piece.lines().collect();
    // Where what is inside begins, and how deep what holds it stands.
    let (mut from, mut depth, mut found) = (0, None, 0);
    for step in path.split('.').flat_map(|part| part.split('[')) {
        let index = step
            .strip_suffix(']')
            .and_then(|number| number.parse::<usize>().ok());
        let rest = lines.get(from..).unwrap_or_default().iter().enumerate();
        let mut inside = rest.filter_map(|(at, line)| Some((from + at, Shape::of(line)?)));
        // The items of a list may stand as deep as its name.
        let mut block = Vec::new();
        while let Some((at, shape)) = inside.next()
            && depth.is_none_or(|depth| {
                let is_item = index.is_some() && shape.item == Some(depth);
                // The first field of an item stands on the item's own line.
                shape.depth() > depth || is_item || at == found
            })
        {
            block.push((at, shape));
        }
        let hit = match index {
            Some(index) => {
                let first = block.first().and_then(|(_, shape)| shape.item);
                let mut items = block
                    .iter()
                    .filter(|(_, shape)| shape.item.is_some() && shape.item == first);
                items.nth(index).map(|(at, shape)| (*at, *at, shape.item))
            }
            None => {
                let level = block.first().map(|(_, shape)| shape.field);
                let mut fields = block.iter().filter(|(_, shape)| Some(shape.field) == level);
                let named = |text: &str| text.strip_prefix(step).is_some_and(|rest| rest.starts_with(':'));
                let hit = fields.find(|(_, shape)| named(shape.text));
                hit.map(|(at, shape)| (*at, at + 1, Some(shape.field)))
            }
        };
        let Some(hit) = hit else { break };
        (found, from, depth) = hit;
    }
    Some(start + found)
}

/// How a line stands: the column of its `-`, if it begins an item of a list, and that of its text.
struct Shape<'a> {
    item: Option<usize>,
    field: usize,
    text: &'a str,
}

impl<'a> Shape<'a> {
    /// `None` for a line that says nothing.
    fn of(line: &'a str) -> Option<Self> {
        let bare = line.trim_start();
        if bare.is_empty() || bare.starts_with('#') {
            return None;
        }
        let column = line.len() - bare.len();
        Some(match bare.strip_prefix("- ") {
            Some(rest) => {
                let text = rest.trim_start();
                let (item, field) = (Some(column), line.len() - text.len());
                Self { item, field, text }
            }
            None => Self {
                item: None,
                field: column,
                text: bare,
            },
        })
    }

    fn depth(&self) -> usize {
        self.item.unwrap_or(self.field)
    }
}

/// Reads the values of one input of a file; the first of that name counts.
pub(super) fn input(text: &str, wanted: &InputRef) -> Option<Result<InputData, FieldErrors>> {
    pieces(text).into_iter().find_map(|(line, piece)| {
        let header = parse::<Header>(piece, line).ok()?;
        let input = header.input()?;
        (input == *wanted).then(|| input_data(input.kind, piece, line))
    })
}

/// A document of a file as text.
pub(super) struct Piece {
    /// Line of the file that it begins at, from 1.
    pub(super) line: usize,
    /// Where the marker before it begins, or else the document.
    pub(super) marker: usize,
    /// Where it stands in the file, in bytes.
    pub(super) range: std::ops::Range<usize>,
}

/// Finds the document of a file that begins at a line.
pub(super) fn piece_at(text: &str, line: usize) -> Option<Piece> {
    cut(text).into_iter().find(|piece| piece.line == line)
}

/// Cuts a file at its document markers. Each piece comes with the line that it begins at.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let text_of = |piece: Piece| (piece.line, text.get(piece.range).unwrap_or_default());
    cut(text).into_iter().map(text_of).collect()
}

fn cut(text: &str) -> Vec<Piece> {
    let mark = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut pieces = Vec::new();
    let (mut marker, mut start, mut start_line, mut offset) = (mark, mark, 1, mark);
    let body = text.get(mark..).unwrap_or_default();
    let mut add = |line, marker, range| pieces.push(Piece { line, marker, range });
    for (number, line) in body.split_inclusive('\n').enumerate() {
        let end = offset + line.len();
        let marks = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marks {
            add(start_line, marker, start..offset);
            // What follows the marker on its line belongs to the document.
            (marker, start, start_line) = (offset, offset + 3, number + 1);
        }
        offset = end;
    }
    add(start_line, marker, start..text.len());
    pieces.retain(|piece| {
        text.get(piece.range.clone())
            .unwrap_or_default()
            .lines()
            .any(|line| {
                let line = line.trim();
                !(line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "...")
            })
    });
    pieces
}

/// What is read of a document before it is known what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: HeaderMetadata,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HeaderMetadata {
    name: String,
    namespace: Option<String>,
}

impl Header {
    fn key(&self) -> ObjectKey {
        let namespace = self.metadata.namespace.as_deref().filter(|text| !text.is_empty());
        ObjectKey::new(namespace.unwrap_or(DEFAULT_NAMESPACE), &self.metadata.name)
    }

    fn input(&self) -> Option<InputRef> {
        let kind = match (self.api_version.as_str(), self.kind.as_str()) {
            ("v1", "Secret") => InputKind::Secret,
            ("v1", "ConfigMap") => InputKind::ConfigMap,
            _ => return None,
        };
        Some(InputRef {
            kind,
            object: self.key(),
        })
    }

    /// A misspelled field at the top is as wrong as one in `spec`.
    fn unknown_fields(&self) -> FieldErrors {
        let mut errors = FieldErrors::default();
        for field in self
            .others
            .keys()
            .filter(|field| !OBJECT_FIELDS.contains(&field.as_str()))
        {
            errors.push(shown_path(field), "unknown field", OBJECT_FIELDS.join(", "));
        }
        errors
    }
}

fn document(piece: &str, line: usize) -> Option<Body> {
    let header = match parse::<Option<Header>>(piece, line) {
        Ok(Some(header)) => header,
        Ok(None) => return None,
        Err(problem) => return Some(unreadable(piece, &problem)),
    };
    let key = header.key();
    if !is_object_name(&key.name) || !is_object_name(&key.namespace) {
        return Some(misnamed(&header, &key, line));
    }
    if let Some(input) = header.input() {
        let facts = input_data(input.kind, piece, line).map(|data| facts(&data));
        return Some(Body::Input(input, facts));
    }
    let Some(kind) = object_kind(&header.kind).filter(|_| group(&header.api_version) == Some(GROUP)) else {
        let what = format!("{} {}", shown(&header.api_version), shown(&header.kind));
        return Some(Body::Foreign(format!("{what} is not for occm and is ignored")));
    };
    Some(Body::Object((kind, key), object(kind, &header, piece, line)))
}

fn object(kind: Kind, header: &Header, piece: &str, line: usize) -> Result<AnyObject, FieldErrors> {
    if header.api_version != API_VERSION {
        let problem = format!("{} is not known", shown(&header.api_version));
        return Err(FieldErrors(vec![FieldError::new(
            "apiVersion",
            problem,
            API_VERSION,
        )]));
    }
    header.unknown_fields().or(())?;
    match kind {
        Kind::Issuer => typed(piece, line).map(|object| AnyObject::Issuer(Arc::new(object))),
        Kind::Certificate => typed(piece, line).map(|object| AnyObject::Certificate(Arc::new(object))),
    }
}

fn group(api_version: &str) -> Option<&str> {
    api_version.split_once('/').map(|(group, _)| group)
}

fn object_kind(text: &str) -> Option<Kind> {
    [Kind::Issuer, Kind::Certificate]
        .into_iter()
        .find(|kind| kind.as_str() == text)
}

fn misnamed(header: &Header, key: &ObjectKey, line: usize) -> Body {
    if header.kind.is_empty() || header.api_version.is_empty() {
        return Body::Lost(line, "no object: apiVersion and kind are required".to_owned());
    }
    let (field, value) = if is_object_name(&key.name) {
        ("namespace", &key.namespace)
    } else {
        ("name", &key.name)
    };
    let problem = if value.is_empty() {
        "is missing".to_owned()
    } else {
        format!("{} cannot be used", shown(value))
    };
    Body::Lost(
        line,
        FieldError::new(format!("metadata.{field}"), problem, NAME_ALLOWED).to_string(),
    )
}

/// A document with broken syntax: which object it is can often be told from its lines.
fn unreadable(piece: &str, problem: &Problem) -> Body {
    let Some((kind, key)) = guessed(piece) else {
        let (what, allowed) = problem.split();
        return Body::Lost(problem.line, format!("{what}; allowed: {allowed}"));
    };
    let errors = FieldErrors(vec![problem.field_error()]);
    Body::Object((kind, key), Err(errors))
}

fn guessed(piece: &str) -> Option<ObjectId> {
    let top = |field: &str| piece.lines().find_map(|line| scalar(line, field));
    let kind = object_kind(&top("kind")?)?;
    if top("apiVersion").as_deref().and_then(group) != Some(GROUP) {
        return None;
    }
    let mut metadata = piece.lines().skip_while(|line| !line.starts_with("metadata:"));
    let first = metadata.next()?;
    let block: Vec<&str> = metadata
        .take_while(|line| line.starts_with([' ', '\t']) || line.trim().is_empty())
        .collect();
    let field = |name: &str| {
        let inline = first
            .split(['{', ',', '}'])
            .find_map(|part| scalar(part.trim(), name));
        inline.or_else(|| block.iter().find_map(|line| scalar(line.trim(), name)))
    };
    let name = field("name")?;
    let namespace = field("namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    (is_object_name(&name) && is_object_name(&namespace)).then(|| (kind, ObjectKey::new(namespace, name)))
}

/// The value of `field: value` on a line.
fn scalar(line: &str, field: &str) -> Option<String> {
    let value = line.strip_prefix(field)?.strip_prefix(':')?;
    let value = value
        .split(" #")
        .next()
        .unwrap_or_default()
        .trim()
        .trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

fn typed<T: DeserializeOwned + HasMetadata>(piece: &str, line: usize) -> Result<T, FieldErrors> {
    let mut object: T = parse(piece, line).map_err(|problem| FieldErrors(vec![problem.field_error()]))?;
    let metadata = object.metadata_mut();
    // What only a store may say is not taken from a file, though an exported object has it.
    *metadata = Metadata {
        namespace: metadata.key().namespace.to_string(),
        name: std::mem::take(&mut metadata.name),
        labels: std::mem::take(&mut metadata.labels),
        annotations: std::mem::take(&mut metadata.annotations),
        ..Metadata::default()
    };
    object.drop_status();
    Ok(object)
}

/// What [`typed`] needs of both kinds.
trait HasMetadata {
    fn metadata_mut(&mut self) -> &mut Metadata;
    fn drop_status(&mut self);
}

impl HasMetadata for Issuer {
    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn drop_status(&mut self) {
        self.status = None;
    }
}

impl HasMetadata for Certificate {
    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn drop_status(&mut self) {
        self.status = None;
    }
}

/// Values of a Secret or ConfigMap as written in a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InputDocument {
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    string_data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, String>>,
}

fn input_data(kind: InputKind, piece: &str, line: usize) -> Result<InputData, FieldErrors> {
    let document: InputDocument =
        parse(piece, line).map_err(|problem| FieldErrors(vec![problem.without_value()]))?;
    let (coded_field, coded, plain_field, plain) = match kind {
        InputKind::Secret => ("data", document.data, "stringData", document.string_data),
        InputKind::ConfigMap => ("binaryData", document.binary_data, "data", document.data),
    };
    let mut errors = FieldErrors::default();
    let mut data = InputData::new();
    for (key, text) in coded.unwrap_or_default() {
        // Line breaks in the text are usual where people cut it by hand.
        let compact: zeroize::Zeroizing<String> = text.split_whitespace().collect::<String>().into();
        match Base64::decode_vec(&compact) {
            Ok(bytes) => drop(data.insert(key, pki::Secret::new(bytes))),
            Err(_) => errors.push(
                format!("{coded_field}.{}", shown_path(&key)),
                "is not base64",
                "base64 text",
            ),
        }
        drop(zeroize::Zeroizing::new(text));
    }
    for (key, text) in plain.unwrap_or_default() {
        data.insert(key, pki::Secret::from(text));
    }
    for key in data.keys().filter(|key| !is_data_key(key)) {
        let field = if kind == InputKind::Secret {
            coded_field
        } else {
            plain_field
        };
        errors.push(
            format!("{field}.{}", shown_path(key)),
            "cannot be a key",
            "letters, digits, '-', '_' and '.', at most 253 characters, not starting with '..'",
        );
    }
    errors.or(data)
}

/// Hash over all keys and values.
pub(super) fn facts(data: &InputData) -> InputFacts {
    InputFacts::of(
        data.iter()
            .map(|(key, value)| (key.as_str(), ContentHash::of(value.expose()))),
    )
}

/// Syntax errors in the parser's words (their beginning), what they mean, and what is allowed.
const SYNTAX: [(&str, &str, &str); 8] = [
    (
        "while scanning a plain scalar, found a tab",
        "a tab stands where the line is indented",
        "blanks for indentation",
    ),
    (
        "recursion limit exceeded",
        "it is nested too deep",
        "fields and lists as in the examples",
    ),
    (
        "alias replay limit exceeded",
        "its aliases unfold to too much",
        "at most 100000 values in a document",
    ),
    (
        "tabs disallowed",
        "a tab stands where the line is indented",
        "blanks for indentation",
    ),
    (
        "unclosed quote",
        "a quoted text is not closed",
        "a text that ends with the quote it began with",
    ),
    (
        "illegal placement of ':'",
        "a ':' stands where no field can begin",
        "one `name: value` in a line; lists and fields in brackets closed before the next line",
    ),
    (
        "duplicate mapping key",
        "a field is there twice",
        "each field once",
    ),
    (
        "unclosed bracket",
        "a bracket is not closed",
        "lists as [a, b] and fields as {name: value}",
    ),
];

/// What the parser expects, in words that people use for YAML.
fn in_words(expected: &str) -> &str {
    match expected {
        "sequence start" | "sequence end" | "a sequence" | "sequence" => "a list such as [a, b]",
        "mapping start" | "mapping end" | "a map" | "mapping" => "fields, as in {name: value}",
        "string scalar" | "a string" | "string" | "scalar" => "a text",
        "boolean" | "a boolean" | "bool" => "true or false",
        "u8" | "u16" | "u32" | "u64" => "a whole number, 0 or more",
        "i32" | "i64" | "integer" => "a whole number",
        other => other,
    }
}

/// What went wrong in reading a document.
struct Problem {
    /// Line of the file.
    line: usize,
    /// Path of the field, empty for the whole.
    path: String,
    /// What.
    text: String,
}

impl Problem {
    fn field_error(&self) -> FieldError {
        let (problem, allowed) = self.split();
        let missing = problem
            .strip_prefix("missing field ")
            .map(|field| field.trim_matches(['`', '"']));
        if let Some(field) = missing {
            let dot = if self.path.is_empty() { "" } else { "." };
            let path = format!("{}{dot}{field}", self.path);
            return FieldError::new(
                path,
                format!("is missing (line {})", self.line),
                "a value; it is required",
            );
        }
        FieldError::new(self.place(), format!("{problem} (line {})", self.line), allowed)
    }

    /// The path without what the parser did not know of it.
    fn place(&self) -> &str {
        match self.path.trim_end_matches(".?") {
            "" | "?" => "document",
            path => path,
        }
    }

    /// The parser's message as problem and what is allowed.
    fn split(&self) -> (&str, &str) {
        if let Some((_, problem, allowed)) = SYNTAX.iter().find(|(text, ..)| self.text.starts_with(text)) {
            return (problem, allowed);
        }
        if let Some((problem, expected)) = self.text.split_once(", expected ") {
            return (problem, in_words(expected));
        }
        if let Some(expected) = self.text.strip_prefix("expected ") {
            return ("has the wrong type", in_words(expected));
        }
        if let Some(expected) = self
            .text
            .strip_prefix("invalid ")
            .filter(|_| !self.path.is_empty())
        {
            return ("has the wrong type", in_words(expected));
        }
        (&self.text, "well-formed YAML as in the examples")
    }

    /// For documents whose values are secret: says where, not what.
    fn without_value(&self) -> FieldError {
        let problem = format!("cannot be read (line {})", self.line);
        FieldError::new(
            self.place(),
            problem,
            "text, quoted where it looks like a number; the value is not shown",
        )
    }
}

/// Reads one document, with limits, and tells where it went wrong.
fn parse<T: DeserializeOwned>(piece: &str, first_line: usize) -> Result<T, Problem> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: 1000,
            max_anchors: 1000,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 8,
        },
        with_snippet: false,
    };
    let mut path = None;
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(piece, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = Some(error.path().to_string());
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        let line = error
            .location()
            .map_or(1, |location| usize::try_from(location.line()).unwrap_or(1));
        Problem {
            line: first_line + line.saturating_sub(1),
            path: path.filter(|path| path != ".").unwrap_or_default(),
            text: message(&error),
        }
    })
}

/// The message without the place, which is told apart.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    // Hints to programmers and places are cut off.
    let ends = [" at line ", ", set DuplicateKeyPolicy"];
    let end = ends
        .iter()
        .filter_map(|end| text.find(end))
        .min()
        .unwrap_or(text.len());
    let first = text
        .get(..end)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    first.chars().take(300).collect()
}

/// A field name of a file as part of a path.
fn shown_path(field: &str) -> String {
    if is_data_key(field) {
        field.to_owned()
    } else {
        shown(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_on_its_line_or_on_that_of_what_holds_it() {
        let text = "# first\n---\nkind: Certificate\nspec:\n  # names\n  dnsNames:\n  - a.example\n\n  - b.example\n  \
                    privateKey: {algorithm: RSA,\n    size: 1}\n  outputs:\n  - secret:\n      name: x\n    keys:\n      \
                    name: {part: Key}\nname: top\n";
        let line = |path: &str| line_of(text, 2, path);
        assert_eq!(line("spec"), Some(4));
        assert_eq!(line("spec.dnsNames"), Some(6));
        assert_eq!(line("spec.dnsNames[0]"), Some(7));
        assert_eq!(line("spec.dnsNames[1]"), Some(9));
        assert_eq!(line("spec.dnsNames[5]"), Some(6));
        assert_eq!(line("spec.privateKey.algorithm"), Some(10));
        assert_eq!(line("spec.outputs[0].secret.name"), Some(14));
        assert_eq!(line("spec.outputs[0].keys.name.part"), Some(16));
        assert_eq!(line("name"), Some(17));
        assert_eq!(line("spec.name"), Some(4));
        assert_eq!(line_of(text, 9, "spec"), None);
    }
}
