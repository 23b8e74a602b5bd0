//! Prints data in the Nix language, laid out as nixfmt does.

use serde_json::Value;

/// A string literal.
pub fn string(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace("${", "\\${")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\t', "\\t");
    format!("\"{escaped}\"")
}

/// A name in a set, in quotes where the language needs them (Nix manual, identifiers and keywords).
pub fn attribute(name: &str) -> String {
    const KEYWORDS: [&str; 9] = [
        "assert", "else", "if", "in", "inherit", "let", "rec", "then", "with",
    ];
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let inner = |c: char| c.is_ascii_alphanumeric() || "_'-".contains(c);
    if name.starts_with(first) && name.chars().all(inner) && !KEYWORDS.contains(&name) {
        name.to_owned()
    } else {
        string(name)
    }
}

/// A value, whose further lines begin with `indent` spaces.
pub fn value(data: &Value, indent: usize) -> String {
    let (pad, end) = (" ".repeat(indent + 2), " ".repeat(indent));
    match data {
        Value::String(text) => lines(text, &pad, &end).unwrap_or_else(|| string(text)),
        Value::Array(list) if list.is_empty() => "[ ]".into(),
        Value::Array(list) if list.len() == 1 && !(list[0].is_object() || list[0].is_array()) => {
            format!("[ {} ]", element(&list[0], indent))
        }
        Value::Array(list) => {
            let rows = list
                .iter()
                .map(|one| format!("{pad}{}\n", element(one, indent + 2)));
            format!("[\n{}{end}]", rows.collect::<String>())
        }
        Value::Object(set) if set.is_empty() => "{ }".into(),
        Value::Object(set) => {
            let rows = set.iter().map(|(name, one)| {
                let (name, one) = dotted(attribute(name), one);
                format!("{pad}{name} = {};\n", value(one, indent + 2))
            });
            format!("{{\n{}{end}}}", rows.collect::<String>())
        }
        other => other.to_string(),
    }
}

/// A name and its value: `a.b` and 1 for `a` and `{ b = 1; }`.
pub fn dotted(name: String, data: &Value) -> (String, &Value) {
    match data.as_object().map(|set| (set.len(), set.iter().next())) {
        Some((1, Some((inner, data)))) => dotted(format!("{name}.{}", attribute(inner)), data),
        _ => (name, data),
    }
}

/// A value as an element of a list or an argument, where a negative number is in parentheses.
pub fn element(data: &Value, indent: usize) -> String {
    let text = value(data, indent);
    if text.starts_with('-') {
        format!("({text})")
    } else {
        text
    }
}

/// A text of several lines as an indented string; none where that would not give the same text,
/// as Nix takes away the indentation that all lines share.
fn lines(text: &str, pad: &str, end: &str) -> Option<String> {
    let shared = !text
        .lines()
        .any(|line| line.starts_with(|c: char| !c.is_whitespace()));
    let blank = |line: &str| !line.is_empty() && line.trim().is_empty();
    if !text.ends_with('\n')
        || text.lines().count() < 2
        || text.contains(['\r', '\t'])
        || shared
        || text.lines().any(blank)
    {
        return None;
    }
    let text = text.replace("''", "'''").replace("${", "''${");
    let rows = text.lines().map(|line| {
        if line.is_empty() {
            "\n".into()
        } else {
            format!("{pad}{line}\n")
        }
    });
    Some(format!("''\n{}{end}''", rows.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_string_cannot_end_before_its_end() {
        assert_eq!(string(r#"a"b\c${d}"#), r#""a\"b\\c\${d}""#);
    }

    #[test]
    fn data_is_printed_as_nix_reads_it() {
        let data = json!({
            "with": true,
            "a.b": [-1, null],
            "empty": [],
            "nested": {"list": [{"x": 1.5}], "one": ["${x}\\\"\n"]},
            "a": {"b c": {"d": false}},
        });
        assert_eq!(
            value(&data, 0),
            "{\n  a.\"b c\".d = false;\n  \"a.b\" = [\n    (-1)\n    null\n  ];\n  empty = [ ];\n  nested = {\n    list = [\n      {\n        x = 1.5;\n      }\n    ];\n    one = [ \"\\${x}\\\\\\\"\\n\" ];\n  };\n  \"with\" = true;\n}"
        );
    }

    #[test]
    fn a_text_of_several_lines_stays_readable_where_its_indentation_is_kept() {
        let text = |text: &str| value(&json!(text), 2);
        assert_eq!(
            text("a\n\n  ${b} ''\n"),
            "''\n    a\n\n      ''${b} '''\n  ''"
        );
        assert_eq!(text("  a\n  b\n"), r#""  a\n  b\n""#);
        assert_eq!(text("a\nb"), r#""a\nb""#);
        assert_eq!(text("a\n \nb\n"), r#""a\n \nb\n""#);
    }
}
