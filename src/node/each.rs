//! Concurrent work for many nodes.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt};

use crate::cluster::Name;
use crate::error::{Error, Result};

/// No bound on concurrent nodes.
pub const ALL: usize = usize::MAX;

/// Does `work` for each of `nodes`, `most` of them at a time. Yields each node with
/// its result, as it ends. The work borrows what it needs, and stops when the
/// stream is dropped. A panic becomes an error of its node.
pub fn each<'a, X, T, F: Future<Output = Result<T>>>(
    most: usize,
    nodes: impl IntoIterator<Item = (&'a Name, X)>,
    work: impl Fn(&'a Name, X) -> F,
) -> impl Stream<Item = (&'a Name, Result<T>)> + Unpin {
    let begun = nodes.into_iter().map(|(node, item)| {
        let done = AssertUnwindSafe(work(node, item)).catch_unwind();
        async move {
            let done = done
                .await
                .unwrap_or_else(|panic| Err(lost(&*panic).on(node)));
            (node, done)
        }
    });
    stream::iter(begun.collect::<Vec<_>>()).buffer_unordered(most)
}

/// Waits for all of them. Returns the results by node, and the errors in the order of their nodes.
pub async fn sorted<'a, T>(
    mut done: impl Stream<Item = (&'a Name, Result<T>)> + Unpin,
) -> (BTreeMap<&'a Name, T>, Vec<Error>) {
    let (mut well, mut bad) = (BTreeMap::new(), BTreeMap::new());
    while let Some((node, result)) = done.next().await {
        match result {
            Ok(result) => drop(well.insert(node, result)),
            Err(error) => drop(bad.insert(node, error)),
        }
    }
    (well, bad.into_values().collect())
}

fn lost(panic: &(dyn Any + Send)) -> Error {
    let why = panic.downcast_ref::<&str>().copied();
    let why = why.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::unexpected("the work on it was lost").saying(why.unwrap_or("it panicked"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn nodes() -> Vec<Name> {
        let names = (1..=9).map(|number| format!("node{number}"));
        names.map(|name| name.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_node_and_the_others_go_on() {
        let nodes = nodes();
        let work = async |node: &Name, ()| {
            assert_ne!(node.as_str(), "node2", "it is even");
            Ok(())
        };
        let done = each(ALL, nodes.iter().map(|node| (node, ())), work);
        let done: Vec<(&Name, Result<()>)> = done.collect().await;
        let errors: Vec<&Error> = done
            .iter()
            .filter_map(|(_, done)| done.as_ref().err())
            .collect();
        assert_eq!((done.len(), errors.len()), (9, 1));
        assert_eq!(errors[0].node.as_ref().unwrap().as_str(), "node2");
        assert!(errors[0].output.as_ref().unwrap().contains("it is even"));
    }

    #[tokio::test]
    async fn all_are_waited_for_whichever_fails() {
        let nodes = nodes();
        let work = async |node: &Name, ()| match node.as_str() {
            "node3" | "node7" => Err(Error::unexpected("is odd").on(node)),
            _ => Ok(()),
        };
        let (well, bad) = sorted(each(ALL, nodes.iter().map(|node| (node, ())), work)).await;
        let bad: Vec<&str> = bad
            .iter()
            .map(|e| e.node.as_ref().unwrap().as_str())
            .collect();
        assert_eq!((well.len(), bad), (7, vec!["node3", "node7"]));
    }

    #[tokio::test]
    async fn no_more_are_worked_on_at_once_than_may() {
        let (nodes, running, peak) = (nodes(), Cell::new(0), Cell::new(0));
        let work = async |_: &Name, ()| {
            running.set(running.get() + 1);
            peak.set(peak.get().max(running.get()));
            tokio::task::yield_now().await;
            running.set(running.get() - 1);
            Ok(())
        };
        let done = each(3, nodes.iter().map(|node| (node, ())), work);
        assert_eq!((done.count().await, peak.get()), (9, 3));
    }
}
