//! The table in `hypervisor/UNSAFE.md`: reading, comparing and rewriting.
//!
//! Owns the table's form: one row a file, counts, and in the last column what the file
//! needs `unsafe` for. People write that column; this file never changes it. Called by
//! `ledger`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::ledger::Count;

const BEGIN: &str = "<!-- ledger: begin -->";
const END: &str = "<!-- ledger: end -->";
const HEAD: &str = "| File | Blocks | Functions | Impls | Linkage | Assembly | What for, and what keeps it sound |\n\
                    |---|--:|--:|--:|--:|--:|---|\n";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    count: Count,
    reason: String,
}

/// The rows by file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    rows: BTreeMap<String, Row>,
}

impl Ledger {
    /// The table between the two marker comments of `text`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (_, table, _) = split(text)?;
        let mut rows = BTreeMap::new();
        for line in table
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("| `"))
        {
            let (file, row) = parse_row(line).with_context(|| format!("in the row `{line}`"))?;
            if rows.insert(file.clone(), row).is_some() {
                bail!("two rows for {file}");
            }
        }
        Ok(Self { rows })
    }

    /// Takes over the counts of the code; reasons stay, new files have none yet.
    pub(super) fn rewrite(&mut self, counts: &[(String, Count)]) {
        let mut old = std::mem::take(&mut self.rows);
        for (file, count) in counts {
            let reason = old.remove(file).map(|row| row.reason).unwrap_or_default();
            self.rows.insert(
                file.clone(),
                Row {
                    count: *count,
                    reason,
                },
            );
        }
    }

    /// Where the table is not what the code says, or says no reason.
    pub(super) fn differences(&self, counts: &[(String, Count)]) -> impl Iterator<Item = String> {
        let mut found = Vec::new();
        let code: BTreeMap<_, _> = counts.iter().map(|(file, count)| (file, *count)).collect();
        for (file, count) in &code {
            match self.rows.get(*file) {
                None => found.push(format!("no row for {file}, which has {}", cells(count))),
                Some(row) if row.count != *count => {
                    found.push(format!(
                        "{file}: the code has {}, the row {}",
                        cells(count),
                        cells(&row.count)
                    ));
                }
                Some(row) if row.reason.is_empty() => {
                    found.push(format!("{file}: no reason given"))
                }
                Some(_) => {}
            }
        }
        for file in self.rows.keys().filter(|file| !code.contains_key(file)) {
            found.push(format!("a row for {file}, which has no `unsafe`"));
        }
        found.into_iter()
    }

    fn print(&self) -> String {
        let rows = self.rows.iter();
        let body = rows
            .map(|(file, row)| format!("| `{file}` | {} | {} |\n", cells(&row.count), row.reason));
        let total = self.rows.values().fold(Count::default(), |sum, row| Count {
            blocks: sum.blocks + row.count.blocks,
            functions: sum.functions + row.count.functions,
            impls: sum.impls + row.count.impls,
            linkage: sum.linkage + row.count.linkage,
            assembly: sum.assembly + row.count.assembly,
        });
        format!(
            "{HEAD}{}| **all** | {} | |\n",
            body.collect::<String>(),
            cells(&total)
        )
    }
}

/// `text` with its table replaced by `ledger`.
pub(super) fn replace(text: &str, ledger: &Ledger) -> Result<String> {
    let (before, _, after) = split(text)?;
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n{END}{after}",
        ledger.print()
    ))
}

fn split(text: &str) -> Result<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN).context("no ledger: begin")?;
    let (table, after) = rest.split_once(END).context("no ledger: end")?;
    Ok((before, table, after))
}

fn cells(count: &Count) -> String {
    let Count {
        blocks,
        functions,
        impls,
        linkage,
        assembly,
    } = count;
    format!("{blocks} | {functions} | {impls} | {linkage} | {assembly}")
}

fn parse_row(line: &str) -> Result<(String, Row)> {
    let parts: Vec<&str> = line
        .trim_matches('|')
        .splitn(7, '|')
        .map(str::trim)
        .collect();
    let [file, blocks, functions, impls, linkage, assembly, reason] = parts[..] else {
        bail!("{} columns, not 7", parts.len());
    };
    let count = Count {
        blocks: blocks.parse()?,
        functions: functions.parse()?,
        impls: impls.parse()?,
        linkage: linkage.parse()?,
        assembly: assembly.parse()?,
    };
    Ok((
        file.trim_matches('`').into(),
        Row {
            count,
            reason: reason.into(),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Unsafe\n\nprose before\n\n<!-- ledger: begin -->\n\
        | File | Blocks | Functions | Impls | Linkage | Assembly | What |\n|---|\n\
        | `a.rs` | 2 | 1 | 0 | 0 | 1 | loads tables; the caller owns them |\n\
        | `gone.rs` | 1 | 0 | 0 | 0 | 0 | was needed |\n\
        <!-- ledger: end -->\n\nprose after\n";

    fn blocks(blocks: usize) -> Count {
        Count {
            blocks,
            ..Count::default()
        }
    }

    #[test]
    fn a_table_that_agrees_with_the_code_has_no_differences() {
        let code = [
            (
                "a.rs".into(),
                Count {
                    blocks: 2,
                    functions: 1,
                    assembly: 1,
                    ..Count::default()
                },
            ),
            ("gone.rs".into(), blocks(1)),
        ];
        assert_eq!(Ledger::parse(PAGE).unwrap().differences(&code).count(), 0);
    }

    #[test]
    fn changed_new_and_vanished_files_are_all_reported() {
        let code = [("a.rs".into(), blocks(3)), ("new.rs".into(), blocks(1))];
        let found: Vec<_> = Ledger::parse(PAGE).unwrap().differences(&code).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for file in ["a.rs", "new.rs", "gone.rs"] {
            assert!(
                found.iter().any(|text| text.contains(file)),
                "{file} in {found:?}"
            );
        }
    }

    #[test]
    fn blessing_keeps_prose_and_reasons_and_asks_for_new_ones() {
        let code = [("a.rs".into(), blocks(3)), ("new.rs".into(), blocks(1))];
        let mut ledger = Ledger::parse(PAGE).unwrap();
        ledger.rewrite(&code);
        let page = replace(PAGE, &ledger).unwrap();
        assert!(page.starts_with("# Unsafe\n\nprose before\n"));
        assert!(page.ends_with("\n\nprose after\n"));
        assert!(
            page.contains("| `a.rs` | 3 | 0 | 0 | 0 | 0 | loads tables; the caller owns them |")
        );
        assert!(page.contains("| **all** | 4 | 0 | 0 | 0 | 0 | |"));
        let left: Vec<_> = Ledger::parse(&page).unwrap().differences(&code).collect();
        assert_eq!(left, ["new.rs: no reason given"]);
    }

    #[test]
    fn a_row_that_is_no_row_is_refused() {
        assert!(Ledger::parse(&PAGE.replace("| 2 |", "| two |")).is_err());
        assert!(Ledger::parse("no table").is_err());
    }
}
