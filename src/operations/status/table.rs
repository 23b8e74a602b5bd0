//! The states of nodes as lines of a table.

use super::State;
use crate::cluster::Name;
use crate::event::{count, width};
use crate::nix::store::StorePath;

/// One line per node, in columns as wide as their content.
pub fn lines<T>(rows: &[(Name, State, Vec<String>, T)]) -> Vec<String> {
    let cells: Vec<Vec<String>> = rows.iter().map(|(_, state, _, _)| cells(state)).collect();
    let width = |column: usize| width(cells.iter().map(|row| &row[column]));
    rows.iter()
        .zip(&cells)
        .map(|((_, _, trouble, _), row)| {
            let columns = row.iter().enumerate();
            let columns: Vec<String> = columns
                .map(|(i, cell)| format!("{cell:<w$}", w = width(i)))
                .collect();
            let verdict = if trouble.is_empty() {
                "well".to_owned()
            } else {
                trouble.join("; ")
            };
            let columns = columns.iter().filter(|column| !column.is_empty());
            let columns: Vec<&str> = columns.map(String::as_str).collect();
            format!("{}  {verdict}", columns.join("  "))
        })
        .collect()
}

fn cells(state: &State) -> Vec<String> {
    let name = |path: &Option<StorePath>| path.as_ref().map_or("?", StorePath::name).to_owned();
    let generation = state
        .generation
        .trim_start_matches("system-")
        .trim_end_matches("-link");
    let days = state.certificates.values().min();
    vec![
        name(&state.running),
        format!("generation {generation}"),
        state
            .free
            .map_or("disk ?".into(), |free| format!("disk {free} % free")),
        match (days, &state.not_root) {
            (Some(days), _) => format!("certificates {}", count(*days, "day")),
            (None, Some(_)) => "certificates unseen".into(),
            (None, None) => "no certificates".into(),
        },
        match &state.lease {
            Some(holder) => format!("held by {}", holder.who),
            None => "no lease".into(),
        },
        daemons(state),
    ]
}

fn daemons(state: &State) -> String {
    let words = state.daemons.iter();
    let words: Vec<String> = words.map(|(daemon, agent)| agent.words(*daemon)).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::well;
    use super::*;

    #[test]
    fn columns_are_aligned_and_trouble_comes_last() {
        let mut full = well();
        full.free = Some(5);
        let row = |name: &str, state: &State, trouble: &[&str]| {
            let trouble = trouble.iter().map(ToString::to_string).collect();
            (name.parse().unwrap(), state.clone(), trouble, ())
        };
        let lines = lines(&[
            row("alder", &well(), &[]),
            row("birch", &full, &["it is full"]),
        ]);
        assert_eq!(
            lines[0],
            "nixos-system-alder-26.05  generation 7  disk 60 % free  certificates 300 days  no lease  well"
        );
        assert_eq!(
            lines[1],
            "nixos-system-alder-26.05  generation 7  disk 5 % free   certificates 300 days  no lease  it is full"
        );
    }
}
