//! What `/proc/buddyinfo` and `/proc/pagetypeinfo` said at one moment.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

use crate::rival::Migrate;

/// Orders of free blocks, 0 to 10, as kernels with frames of 4 KiB count them.
pub(super) const ORDERS: usize = 11;

/// Free blocks by order.
pub(super) type Counts = [u64; ORDERS];

/// The types that requests can ask for, in the order of a snapshot's figures.
pub(super) const TYPES: [Migrate; 3] = [Migrate::Unmovable, Migrate::Movable, Migrate::Reclaimable];

/// How fragmented a machine's memory was: free blocks and pageblocks by type, of all its zones together.
///
/// Pageblocks of other types (HighAtomic, CMA, Isolate) and their free blocks count as unmovable memory in use: no request that
/// is replayed may have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Free blocks of each type.
    pub(super) free: [Counts; TYPES.len()],
    /// Pageblocks of each type.
    pub(super) pageblocks: [u64; TYPES.len()],
}

impl Snapshot {
    /// Reads a file with the text of `/proc/pagetypeinfo`, and that of `/proc/buddyinfo` before or after it, if at all. The second one
    /// has nothing that the first has not, but for what the first does not count: it ends at 100,000 blocks.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not such a text; or the two texts do not belong together.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the snapshot {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no snapshot of a machine's memory", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut reading = Reading::default();
        for line in text.lines() {
            reading.line(line).with_context(|| format!("the line \"{line}\""))?;
        }
        let Reading { snapshot, has_types, has_pageblocks, .. } = &reading;
        if !has_types || !has_pageblocks {
            bail!(
                "it must have the text of /proc/pagetypeinfo; as root: cat /proc/buddyinfo /proc/pagetypeinfo > FILE"
            );
        }
        snapshot.clone().reconcile(&reading)
    }

    /// Compares the two texts, which were read one after the other, and takes from buddyinfo what pagetypeinfo did not count.
    fn reconcile(mut self, reading: &Reading) -> Result<Self> {
        let Some(buddyinfo) = reading.buddyinfo else {
            ensure!(
                !reading.is_cut_off,
                "there were more blocks than pagetypeinfo counts (a \">\"): put /proc/buddyinfo into the file, too"
            );
            return Ok(self);
        };
        for (order, (&all, &by_type)) in buddyinfo.iter().zip(&reading.free_of_all).enumerate() {
            if reading.is_cut_off {
                // Of which type the others are is not said; most free memory is movable.
                self.free[1][order] += all.saturating_sub(by_type);
                continue;
            }
            ensure!(
                all.abs_diff(by_type) <= 64 + all / 4,
                "buddyinfo has {all} free blocks of order {order}, pagetypeinfo {by_type}: they are not of the same moment"
            );
        }
        Ok(self)
    }
}

/// What was read of the two texts.
#[derive(Default)]
struct Reading {
    snapshot: Snapshot,
    /// The sum of buddyinfo's lines.
    buddyinfo: Option<Counts>,
    /// Free blocks by pagetypeinfo, of all types.
    free_of_all: Counts,
    /// The types by which the lines that follow count pageblocks.
    columns: Option<Vec<Option<usize>>>,
    has_types: bool,
    has_pageblocks: bool,
    /// Whether pagetypeinfo stopped counting somewhere.
    is_cut_off: bool,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<()> {
        if let Some(names) = line.strip_prefix("Number of blocks type") {
            self.columns = Some(names.split_whitespace().map(place_of).collect::<Result<_>>()?);
        } else if let Some(order) = line.strip_prefix("Page block order:") {
            let order = order.trim();
            ensure!(order == "9", "pageblocks of order {order}; those of gfp are of order 9, 2 MiB");
        } else if let Some((_, zone)) = line.strip_prefix("Node").and_then(|line| line.split_once(", zone")) {
            self.zone(&zone.split_whitespace().skip(1).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Takes what is said of a zone, behind its name.
    fn zone(&mut self, words: &[&str]) -> Result<()> {
        match (words, &self.columns) {
            (["type", name, words @ ..], _) => {
                let counts = self.counts(words)?;
                add(&mut self.free_of_all, &counts);
                if let Some(place) = place_of(name)? {
                    add(&mut self.snapshot.free[place], &counts);
                }
                self.has_types = true;
            }
            (words, Some(columns)) if words.len() == columns.len() => {
                for (column, word) in columns.iter().zip(words) {
                    let count: u64 = word.parse().with_context(|| format!("\"{word}\" is not a number"))?;
                    self.snapshot.pageblocks[column.unwrap_or(0)] += count;
                }
                self.has_pageblocks = true;
            }
            _ => {
                let counts = self.counts(words)?;
                add(self.buddyinfo.get_or_insert_default(), &counts);
            }
        }
        Ok(())
    }

    /// Reads free blocks by order. A `>` says that there were more.
    fn counts(&mut self, words: &[&str]) -> Result<Counts> {
        ensure!(words.len() <= ORDERS, "it has more orders than 0 to {}", ORDERS - 1);
        let mut counts = Counts::default();
        for (count, word) in counts.iter_mut().zip(words) {
            let digits = word.trim_start_matches('>');
            self.is_cut_off |= digits.len() < word.len();
            *count = digits.parse().with_context(|| format!("\"{word}\" is not a number"))?;
        }
        Ok(counts)
    }
}

/// Returns the place of a type that requests can ask for, nothing for the others that kernels have.
fn place_of(name: &str) -> Result<Option<usize>> {
    match name {
        "Unmovable" => Ok(Some(0)),
        "Movable" => Ok(Some(1)),
        "Reclaimable" => Ok(Some(2)),
        "HighAtomic" | "CMA" | "Isolate" => Ok(None),
        _ => bail!("\"{name}\" is no migrate type"),
    }
}

fn add(sum: &mut Counts, counts: &Counts) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGETYPEINFO: &str = "\
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10 
Node    0, zone    DMA32, type    Unmovable      1      0      0      0      0      0      0      0      0      0      0 
Node    0, zone    DMA32, type      Movable      3      2      4      2      5      4      3      3      4      2    752 
Node    0, zone   Normal, type    Unmovable   1076    699    342    198    162     91     37     11      1      0      0 
Node    0, zone   Normal, type  Reclaimable    379     99     50     65     40     20      9      5      1      0      0 
Node    0, zone   Normal, type   HighAtomic      7      0      0      0      0      0      0      0      0      0      0 

Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      Isolate 
Node 0, zone    DMA32            1         1527            0            0            0 
Node 0, zone   Normal           92         4477          167            2            0 
";
    const BUDDYINFO: &str = "\
Node 0, zone    DMA32      4      2      4      2      5      4      3      3      4      2    752 
Node 0, zone   Normal   1462    798    392    263    202    111     46     16      2      0      0 
";

    #[test]
    fn zones_are_added_up_and_what_no_request_may_have_is_unmovable_memory_in_use() {
        let snapshot = Snapshot::parse(PAGETYPEINFO).unwrap();
        assert_eq!(snapshot.pageblocks, [95, 6004, 167]);
        assert_eq!(snapshot.free[0][..3], [1077, 699, 342]);
        assert_eq!(snapshot.free[1], [3, 2, 4, 2, 5, 4, 3, 3, 4, 2, 752]);
        assert_eq!(snapshot.free[2][0], 379);
        assert_eq!(Snapshot::parse(&format!("{BUDDYINFO}{PAGETYPEINFO}")).unwrap(), snapshot);
        assert_eq!(Snapshot::parse(&format!("{PAGETYPEINFO}{BUDDYINFO}")).unwrap(), snapshot);
    }

    #[test]
    fn what_pagetypeinfo_does_not_count_comes_from_buddyinfo() {
        let pagetypeinfo = PAGETYPEINFO.replace("      3      2      4", " >100000      2      4");
        let message = Snapshot::parse(&pagetypeinfo).unwrap_err().to_string();
        assert!(message.contains("/proc/buddyinfo"), "{message}");
        let buddyinfo = BUDDYINFO.replace("DMA32      4", "DMA32 100501");
        let snapshot = Snapshot::parse(&(buddyinfo + &pagetypeinfo)).unwrap();
        assert_eq!(snapshot.free[1][0], 100_500);
    }

    #[test]
    fn other_texts_are_answered_with_what_is_missing() {
        for (text, answer) in [
            ("", "cat /proc/buddyinfo /proc/pagetypeinfo"),
            (BUDDYINFO, "cat /proc/buddyinfo /proc/pagetypeinfo"),
            (&PAGETYPEINFO.replace("order: 9", "order: 5"), "of order 5"),
            (&PAGETYPEINFO.replace("752", "many"), "\"many\""),
            (&PAGETYPEINFO.replace("HighAtomic", "Movables"), "\"Movables\""),
            (&PAGETYPEINFO.replace("752", "752 1"), "0 to 10"),
            (&(BUDDYINFO.replace("1462", "9999") + PAGETYPEINFO), "not of the same moment"),
        ] {
            let message = format!("{:#}", Snapshot::parse(text).unwrap_err());
            assert!(message.contains(answer), "{message}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let message = format!("{:#}", Snapshot::read(Path::new("/nowhere/at/all")).unwrap_err());
        assert!(message.contains("/nowhere/at/all"), "{message}");
    }
}
