//! What of a workload the caller chooses besides its order and its threads.

use serde_json::{Value, json};

use super::{SetSize, Touch};

/// A choice for each; the default is the workload as its definition says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// How many blocks are alive, for workloads that [have sets](super::Workload::has_sets).
    pub set: Option<SetSize>,
    /// Whether blocks are written to, for the same workloads.
    pub touch: Touch,
    /// Blocks a call, for [`BulkApi`](super::BulkApi).
    pub batch: Option<usize>,
}

impl Variant {
    /// Writes what was chosen into a record: `touch` always, `set` and `batch` where there is one.
    pub fn describe(self, record: &mut Value) {
        record["touch"] = json!(self.touch.name());
        if let Some(SetSize { set, blocks }) = self.set {
            record["set"] = json!(set.name());
            record["live_blocks"] = json!(blocks);
        }
        if let Some(batch) = self.batch {
            record["batch"] = json!(batch);
        }
    }

    /// Returns what stands behind the workload's name in a table, such as ` l2 touched`; nothing for the default.
    #[must_use]
    pub fn label(self) -> String {
        let mut label = String::new();
        if let Some(SetSize { set, .. }) = self.set {
            label.push(' ');
            label.push_str(set.name());
        }
        if self.touch == Touch::Lines {
            label.push_str(" touched");
        }
        if let Some(batch) = self.batch {
            label.push_str(&format!(" of {batch}"));
        }
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WorkingSet;

    #[test]
    fn a_record_has_what_was_chosen() {
        let described = |variant: Variant| {
            let mut record = json!({});
            variant.describe(&mut record);
            (record, variant.label())
        };
        assert_eq!(described(Variant::default()), (json!({ "touch": "untouched" }), String::new()));
        let set = Some(SetSize { set: WorkingSet::L2, blocks: 128 });
        assert_eq!(
            described(Variant { set, touch: Touch::Lines, batch: None }),
            (json!({ "touch": "lines", "set": "l2", "live_blocks": 128 }), " l2 touched".to_owned())
        );
        let (record, label) = described(Variant { batch: Some(16), ..Variant::default() });
        assert_eq!((record["batch"].as_u64(), label.as_str()), (Some(16), " of 16"));
    }
}
