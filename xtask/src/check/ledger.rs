//! The unsafe ledger: every `unsafe` is counted, justified and listed.
//!
//! Owns the counting. It works on tokens, so that an `unsafe` inside a macro counts like
//! any other and one in a string or comment does not. The table it compares with is read
//! and written by `ledger_table`.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

use super::ledger_table::{self, Ledger};
use super::sources::{self, SourceFile};
use super::{Options, Outcome};

const LEDGER_PATH: &str = "hypervisor/UNSAFE.md";

/// How much `unsafe` a file has, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// `unsafe { … }`.
    pub(super) blocks: usize,
    /// `unsafe fn` with a body or in a trait; not the type.
    pub(super) functions: usize,
    /// `unsafe impl` and `unsafe trait`.
    pub(super) impls: usize,
    /// `unsafe extern { … }` and attributes such as `#[unsafe(no_mangle)]`.
    pub(super) linkage: usize,
    /// `asm!`, `naked_asm!` and `global_asm!`.
    pub(super) assembly: usize,
}

impl Count {
    /// Whether the file has none of it.
    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Counts what `word` begins; the kind, if that is an `unsafe`.
    fn add(&mut self, word: &Ident, following: &[TokenTree]) -> Option<Kind> {
        self.assembly += usize::from(is_assembly(word, following));
        let kind = if word == "unsafe" {
            Kind::of(following)?
        } else {
            return None;
        };
        match kind {
            Kind::Block => self.blocks += 1,
            Kind::Function => self.functions += 1,
            Kind::Impl => self.impls += 1,
            Kind::Linkage => self.linkage += 1,
        }
        Some(kind)
    }
}

/// What one file holds: its count, and the lines of each `unsafe` without a reason.
#[derive(Debug, Default)]
struct Survey {
    count: Count,
    unjustified: Vec<usize>,
}

/// Compares the code with the table, or rewrites the table's numbers.
pub(super) fn check(root: &Path, options: &Options) -> Result<Outcome> {
    let mut objections = Vec::new();
    let mut counts = Vec::new();
    for file in sources::files(root, "rs")? {
        let survey = match survey(&file) {
            Ok(survey) => survey,
            Err(error) => {
                objections.push(format!("{error:#}"));
                continue;
            }
        };
        objections.extend(survey.unjustified.iter().map(|line| {
            format!(
                "{}:{line}: `unsafe` without a SAFETY comment (or a `# Safety` section) right above",
                file.path
            )
        }));
        if !survey.count.is_zero() {
            counts.push((file.path, survey.count));
        }
    }
    let path = root.join(LEDGER_PATH);
    let text = fs::read_to_string(&path).context(LEDGER_PATH)?;
    let mut ledger = Ledger::parse(&text).context(LEDGER_PATH)?;
    if options.bless {
        ledger.rewrite(&counts);
        fs::write(&path, ledger_table::replace(&text, &ledger)?).context(LEDGER_PATH)?;
    }
    objections.extend(
        ledger
            .differences(&counts)
            .map(|text| format!("{LEDGER_PATH}: {text}")),
    );
    Ok(verdict(objections, &counts))
}

fn verdict(objections: Vec<String>, counts: &[(String, Count)]) -> Outcome {
    if !objections.is_empty() {
        return Outcome::Failed(objections);
    }
    let blocks: usize = counts.iter().map(|(_, count)| count.blocks).sum();
    Outcome::Passed(format!(
        "{blocks} blocks in {} files, each with its reason",
        counts.len()
    ))
}

fn survey(file: &SourceFile) -> Result<Survey> {
    let tokens =
        TokenStream::from_str(&file.text).map_err(|error| anyhow!("{}: {error}", file.path))?;
    let lines: Vec<&str> = file.text.lines().collect();
    let mut survey = Survey::default();
    visit(tokens, Around::default(), &lines, &mut survey);
    Ok(survey)
}

/// What the tokens of a group stand in.
#[derive(Clone, Copy, Default)]
struct Around {
    /// The first line of the statement the group is part of, where that statement's
    /// comment also speaks for what is inside: parentheses and brackets, but no braces.
    statement: Option<usize>,
    /// It is the body of `impl Trait for`: the trait says what its functions demand.
    trait_impl: bool,
}

/// Walks one group of tokens.
fn visit(tokens: TokenStream, around: Around, lines: &[&str], survey: &mut Survey) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        let following = tokens.get(index + 1..).unwrap_or_default();
        let begin = tokens
            .get(start)
            .map_or(1, |first| first.span().start().line);
        let begin = around.statement.unwrap_or(begin);
        match token {
            TokenTree::Ident(word) => {
                let kind = survey.count.add(word, following);
                if kind.is_some_and(|kind| kind.needs_reason(around)) {
                    let line = word.span().start().line;
                    if !is_justified(begin, line, lines) {
                        survey.unjustified.push(line);
                    }
                }
            }
            TokenTree::Group(group) => {
                let before = tokens.get(start..index).unwrap_or_default();
                visit(group.stream(), inside(group, begin, before), lines, survey);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        if ends_statement(token, following) {
            start = index + 1;
        }
    }
}

/// What the tokens of `group` stand in, in a statement that began at line `begin` with the
/// tokens `before`.
fn inside(group: &Group, begin: usize, before: &[TokenTree]) -> Around {
    let has = |word: &str| {
        before
            .iter()
            .any(|token| matches!(token, TokenTree::Ident(ident) if ident == word))
    };
    match group.delimiter() {
        Delimiter::Brace => Around {
            statement: None,
            trait_impl: has("impl") && has("for"),
        },
        _ => Around {
            statement: Some(begin),
            trait_impl: false,
        },
    }
}

/// Whether the next token begins a new statement, arm, field or item.
fn ends_statement(token: &TokenTree, following: &[TokenTree]) -> bool {
    match token {
        TokenTree::Punct(punct) => matches!(punct.as_char(), ';' | ','),
        TokenTree::Group(group) => {
            group.delimiter() == Delimiter::Brace && !following.first().is_some_and(goes_on)
        }
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    }
}

/// Whether the token carries on the statement whose last token was a closing brace.
fn goes_on(next: &TokenTree) -> bool {
    match next {
        TokenTree::Punct(punct) => matches!(punct.as_char(), '.' | '?' | '=' | '|' | ',' | ';'),
        TokenTree::Ident(word) => word == "else",
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    }
}

/// What an `unsafe` marks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Function,
    Impl,
    Linkage,
}

impl Kind {
    /// Linkage promises something about a name, and the function of a trait keeps to the
    /// trait's terms; the others say what they rest on.
    fn needs_reason(self, around: Around) -> bool {
        match self {
            Self::Block | Self::Impl => true,
            Self::Function => !around.trait_impl,
            Self::Linkage => false,
        }
    }

    /// The kind of the `unsafe` before these tokens; `None` for a function pointer's type.
    fn of(following: &[TokenTree]) -> Option<Self> {
        let names_abi = following.first().is_some_and(is_abi);
        match following.iter().find(|token| !is_abi(token))? {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !names_abi => {
                Some(Self::Block)
            }
            TokenTree::Group(_) => Some(Self::Linkage),
            TokenTree::Ident(next) if next == "fn" => {
                (!is_type(following)).then_some(Self::Function)
            }
            TokenTree::Ident(next) => (next == "impl" || next == "trait").then_some(Self::Impl),
            TokenTree::Punct(_) | TokenTree::Literal(_) => None,
        }
    }
}

fn is_assembly(word: &Ident, following: &[TokenTree]) -> bool {
    let called =
        matches!(following.first(), Some(TokenTree::Punct(punct)) if punct.as_char() == '!');
    called && (word == "asm" || word == "naked_asm" || word == "global_asm")
}

/// `extern` and the ABI's string, which stand between `unsafe` and what it marks.
fn is_abi(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(word) => word == "extern",
        TokenTree::Literal(_) => true,
        TokenTree::Group(_) | TokenTree::Punct(_) => false,
    }
}

/// A function pointer has no name after `fn`.
fn is_type(following: &[TokenTree]) -> bool {
    let mut after = following.iter().skip_while(|token| is_abi(token)).skip(1);
    matches!(
        after.next(),
        Some(TokenTree::Group(_) | TokenTree::Punct(_))
    )
}

/// Whether a SAFETY comment stands in the comment lines right above line `begin` (from 1)
/// or between there and the line of the `unsafe`.
fn is_justified(begin: usize, line: usize, lines: &[&str]) -> bool {
    let is_comment = |text: &&&str| text.trim_start().starts_with("//");
    let above = lines.iter().take(begin - 1).rev().take_while(is_comment);
    let within = lines.iter().take(line).skip(begin - 1);
    above.chain(within).any(|text| {
        let comment = text.split_once("//").map_or("", |(_, comment)| comment);
        comment.contains("SAFETY:") || comment.contains("# Safety")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey_of(text: &str) -> Survey {
        survey(&SourceFile {
            path: "test.rs".into(),
            text: text.into(),
        })
        .unwrap()
    }

    #[test]
    fn each_kind_is_counted_where_it_stands() {
        let count = survey_of(
            "unsafe impl Send for A {}\n unsafe trait T {}\n\
             unsafe extern \"C\" { static END: u8; }\n\
             #[unsafe(no_mangle)] unsafe extern \"C\" fn f() { unsafe { asm!(\"\") } }\n\
             core::arch::global_asm!(\"\");",
        )
        .count;
        let expected = Count {
            blocks: 1,
            functions: 1,
            impls: 2,
            linkage: 2,
            assembly: 2,
        };
        assert_eq!(count, expected);
    }

    #[test]
    fn strings_comments_and_function_pointer_types_do_not_count() {
        let survey = survey_of(
            "//! unsafe { }\nconst S: &str = \"unsafe { }\"; type F = unsafe extern \"C\" fn(u8);\n\
             type G = unsafe fn();",
        );
        assert!(survey.count.is_zero(), "{:?}", survey.count);
        assert!(survey.unjustified.is_empty());
    }

    #[test]
    fn a_block_in_a_macro_counts_and_needs_its_reason() {
        let survey = survey_of("macro_rules! m {\n () => {\n unsafe { f() }\n };\n}");
        assert_eq!(survey.count.blocks, 1);
        assert_eq!(survey.unjustified, [3]);
    }

    #[test]
    fn the_comment_may_stand_above_the_statement() {
        let text = "fn f() {\n // SAFETY: the page is ours.\n let a = g(\n unsafe { h() },\n );\n}";
        assert!(survey_of(text).unjustified.is_empty());
    }

    #[test]
    fn the_comment_of_one_statement_does_not_cover_the_next() {
        let text = "fn f() {\n // SAFETY: the page is ours.\n unsafe { h() };\n unsafe { h() };\n}";
        assert_eq!(survey_of(text).unjustified, [4]);
    }

    #[test]
    fn the_comment_above_a_function_does_not_cover_its_blocks() {
        let text = "// SAFETY: no.\nfn f() {\n unsafe { h() };\n}";
        assert_eq!(survey_of(text).unjustified, [3]);
    }

    #[test]
    fn an_unsafe_function_is_justified_by_its_safety_section() {
        let text = "/// Loads it.\n///\n/// # Safety\n/// Valid.\n#[inline]\nunsafe fn f() {}\n\nunsafe fn g() {}";
        assert_eq!(survey_of(text).unjustified, [8]);
    }

    #[test]
    fn the_functions_of_a_trait_keep_to_its_terms_and_their_blocks_do_not() {
        let text = "// SAFETY: a.\nunsafe impl G for A {\n unsafe fn f() {\n unsafe { h() }\n }\n}\n\
                    impl A {\n unsafe fn g() {}\n}";
        assert_eq!(survey_of(text).unjustified, [4, 8]);
    }

    #[test]
    fn a_comment_inside_one_function_does_not_justify_the_next() {
        let text = "fn f() {\n // SAFETY: a.\n unsafe { h() }\n}\n/// Doc.\nunsafe fn g() {}";
        assert_eq!(survey_of(text).unjustified, [6]);
    }

    #[test]
    fn an_arm_is_a_statement_of_its_own() {
        let text =
            "fn f() { match a {\n // SAFETY: a.\n A => unsafe { h() },\n B => unsafe { h() },\n} }";
        assert_eq!(survey_of(text).unjustified, [4]);
    }
}
