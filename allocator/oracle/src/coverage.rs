//! Which branches the calls went through, and that none was left out.

use std::collections::BTreeMap;

/// How often each branch was taken, by kind of call and branch.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<(&'static str, String), u64>);

impl Coverage {
    pub(crate) fn count(&mut self, kind: &'static str, branch: impl Into<String>) {
        *self.0.entry((kind, "all".to_owned())).or_default() += 1;
        *self.0.entry((kind, branch.into())).or_default() += 1;
    }

    /// Adds what another program did.
    pub fn add(&mut self, other: &Self) {
        for (branch, count) in &other.0 {
            *self.0.entry(branch.clone()).or_default() += count;
        }
    }

    /// Checks that each of these branches was at least one in a hundred of its kind.
    ///
    /// # Panics
    /// When one was rarer.
    pub fn check(&self, branches: &[(&'static str, &[&str])]) {
        for &(kind, branches) in branches {
            let of = |branch: &str| self.0.get(&(kind, branch.to_owned())).copied().unwrap_or(0);
            for branch in branches {
                let (count, all) = (of(branch), of("all"));
                assert!(
                    count > 0 && count * 100 >= all,
                    "{kind}: {branch} {count} times in {all}\n{self:#?}"
                );
            }
        }
    }
}
