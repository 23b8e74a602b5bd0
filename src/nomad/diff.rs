//! The changes that a plan would make to a job, as lines.

use serde_json::Value;

/// The lines of the `Diff` in Nomad's answer to a plan; empty if nothing changes.
pub fn lines(diff: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    part(diff, "Job", "ID", 0, &mut lines);
    lines
}

/// Whether a plan's `Diff` changes nothing.
pub fn is_empty(diff: &Value) -> bool {
    matches!(kind(diff), "None" | "")
}

fn kind(part: &Value) -> &str {
    part["Type"].as_str().unwrap_or_default()
}

const fn sign(kind: &str) -> &'static str {
    match kind.as_bytes() {
        b"Added" => "+",
        b"Deleted" => "-",
        b"Edited" => "~",
        _ => " ",
    }
}

/// The fields that are shown of a new job, group or task. The rest is mostly defaults, about fifty
/// lines.
const SHOWN_OF_NEW: [&str; 7] = [
    "Config",
    "Count",
    "Driver",
    "Namespace",
    "Priority",
    "Service",
    "Type",
];

/// Whether to omit a part of something new.
fn is_default(of: &str, kind: &str, name: &str) -> bool {
    !of.is_empty() && kind == "Added" && !SHOWN_OF_NEW.contains(&name)
}

/// Adds the lines of a job, group, task or block and its parts.
fn part(diff: &Value, what: &str, name: &str, depth: usize, lines: &mut Vec<String>) {
    if is_empty(diff) {
        return;
    }
    let is_left_out =
        |part: &&Value| is_default(what, kind(diff), part["Name"].as_str().unwrap_or_default());
    let indent = "  ".repeat(depth);
    let sign = sign(kind(diff));
    let name = diff[name].as_str().unwrap_or_default();
    let title = match what {
        "" => format!("{name} {{"),
        what => format!("{what} ‘{name}’"),
    };
    lines.push(format!("{indent}{sign} {title}{}", updates(diff)));
    for field in list(diff, "Fields").filter(|part| !is_left_out(part)) {
        lines.extend(self::field(field, depth + 1));
    }
    for block in list(diff, "Objects").filter(|part| !is_left_out(part)) {
        part(block, "", "Name", depth + 1, lines);
    }
    if what.is_empty() {
        lines.push(format!("{indent}{sign} }}"));
    }
    for group in list(diff, "TaskGroups") {
        part(group, "group", "Name", depth + 1, lines);
    }
    for task in list(diff, "Tasks") {
        part(task, "task", "Name", depth + 1, lines);
    }
}

fn list<'a>(diff: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    diff[name].as_array().into_iter().flatten()
}

/// The scheduler's actions, as in ` (1 create, 2 in-place update)`.
fn updates(diff: &Value) -> String {
    let updates: Vec<String> = diff["Updates"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(what, count)| format!("{count} {what}"))
        .chain(list(diff, "Annotations").filter_map(|a| a.as_str().map(str::to_owned)))
        .collect();
    if updates.is_empty() {
        String::new()
    } else {
        format!(" ({})", updates.join(", "))
    }
}

fn field(field: &Value, depth: usize) -> Vec<String> {
    let indent = "  ".repeat(depth);
    let name = field["Name"].as_str().unwrap_or_default();
    let (old, new) = (
        field["Old"].as_str().unwrap_or_default(),
        field["New"].as_str().unwrap_or_default(),
    );
    match kind(field) {
        "Added" => vec![format!("{indent}+ {name}: {}", short(new))],
        "Deleted" => vec![format!("{indent}- {name}: {}", short(old))],
        "Edited" if old.contains('\n') || new.contains('\n') => {
            let mut lines = vec![format!("{indent}~ {name}:")];
            lines.extend(texts(old, new, &indent));
            lines
        }
        "Edited" => vec![format!("{indent}~ {name}: {} → {}", short(old), short(new))],
        _ => Vec::new(),
    }
}

/// A text of several lines, such as a template, line by line.
fn texts(old: &str, new: &str, indent: &str) -> Vec<String> {
    similar::TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(1)
        .to_string()
        .lines()
        .map(|line| format!("{indent}    {line}"))
        .collect()
}

fn short(text: &str) -> String {
    let mut lines = text.lines();
    match (lines.next(), lines.count()) {
        (Some(first), 0) => format!("{first:?}"),
        (Some(first), more) => format!("{first:?} and {more} more lines"),
        (None, _) => "\"\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_shown_as_a_diff_of_what_changes_alone() {
        let diff = json!({
            "ID": "web", "Type": "Edited",
            "Fields": [{"Name": "Priority", "Type": "Edited", "Old": "50", "New": "60"},
                {"Name": "Region", "Type": "None", "Old": "prod", "New": "prod"}],
            "Objects": null,
            "TaskGroups": [
                {"Name": "front", "Type": "Edited", "Updates": {"create/destroy update": 1},
                    "Tasks": [{"Name": "nginx", "Type": "Edited", "Annotations": ["forces create/destroy update"],
                        "Objects": [{"Name": "Config", "Type": "Edited", "Fields": [
                            {"Name": "image", "Type": "Edited", "Old": "nginx:1", "New": "nginx:2"}]}],
                        "Fields": [{"Name": "EmbeddedTmpl", "Type": "Edited", "Old": "a\nb\n", "New": "a\nc\n"}]}]},
                {"Name": "same", "Type": "None"},
            ],
        });
        assert_eq!(
            lines(&diff),
            [
                "~ Job ‘web’",
                "  ~ Priority: \"50\" → \"60\"",
                "  ~ group ‘front’ (1 create/destroy update)",
                "    ~ task ‘nginx’ (forces create/destroy update)",
                "      ~ EmbeddedTmpl:",
                "          @@ -1,2 +1,2 @@",
                "           a",
                "          -b",
                "          +c",
                "      ~ Config {",
                "        ~ image: \"nginx:1\" → \"nginx:2\"",
                "      ~ }",
            ]
        );
    }

    #[test]
    fn a_new_job_is_shown_without_its_defaults() {
        let field =
            |name: &str, new: &str| json!({"Name": name, "Type": "Added", "Old": "", "New": new});
        let diff = json!({
            "ID": "web", "Type": "Added",
            "Fields": [field("AllAtOnce", "false"), field("Priority", "50"), field("Region", "prod")],
            "TaskGroups": [{"Name": "front", "Type": "Added", "Updates": {"create": 2},
                "Fields": [field("Count", "2")],
                "Objects": [{"Name": "RestartPolicy", "Type": "Added", "Fields": [field("Attempts", "2")]}],
                "Tasks": [{"Name": "nginx", "Type": "Added",
                    "Fields": [field("Driver", "docker"), field("KillTimeout", "5000000000")],
                    "Objects": [{"Name": "Config", "Type": "Added", "Fields": [field("image", "nginx:1")]}]}]}],
        });
        assert_eq!(
            lines(&diff),
            [
                "+ Job ‘web’",
                "  + Priority: \"50\"",
                "  + group ‘front’ (2 create)",
                "    + Count: \"2\"",
                "    + task ‘nginx’",
                "      + Driver: \"docker\"",
                "      + Config {",
                "        + image: \"nginx:1\"",
                "      + }",
            ]
        );
    }

    #[test]
    fn a_plan_without_changes_has_no_lines() {
        assert!(is_empty(&json!({"Type": "None", "ID": "web"})));
        assert_eq!(lines(&json!({"Type": "None", "ID": "web"})), [""; 0]);
    }
}
