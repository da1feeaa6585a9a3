//! Lines of code, as the compiler sees them: the token is what counts.
//!
//! Owns what a line of code is: one with a token on it that is built for bare metal. Blank
//! lines, comments, documentation and whatever stands behind a `#[cfg]` that is off there are
//! none; the files of modules are found as the compiler finds them. Called by `count`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Group, LineColumn, TokenStream, TokenTree};

/// The lines of the crate whose root is this file.
///
/// # Errors
/// A file of it cannot be read, or is no Rust.
pub(super) fn lines(root: &Path) -> Result<u64> {
    let folder = root.parent().context("a file in no folder")?;
    of_file(root, folder)
}

/// The lines of a file and of the modules below it, which are in `folder`.
fn of_file(file: &Path, folder: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let found = Found::of(&text).with_context(|| file.display().to_string())?;
    let mut count = found.lines.len() as u64;
    for module in &found.modules {
        let (file, below) = place(folder, module)?;
        count += of_file(&file, &below)?;
    }
    Ok(count)
}

/// A module's file, and the folder of those below it.
fn place(folder: &Path, module: &str) -> Result<(PathBuf, PathBuf)> {
    let below = folder.join(module);
    let files = [folder.join(format!("{module}.rs")), below.join("mod.rs")];
    let found = files.into_iter().find(|file| file.is_file());
    let found = found.with_context(|| format!("no file for {}", below.display()))?;
    Ok((found, below))
}

/// What a file has.
#[derive(Debug, Default)]
struct Found {
    /// The numbers of its lines of code.
    lines: BTreeSet<usize>,
    /// The modules that are files of their own, with the modules they are in.
    modules: Vec<String>,
}

impl Found {
    fn of(text: &str) -> Result<Self> {
        let tokens = TokenStream::from_str(text).map_err(|error| anyhow!("{error}"))?;
        let blank: BTreeSet<usize> = (1..)
            .zip(text.lines())
            .filter(|(_, line)| line.trim().is_empty())
            .map(|(number, _)| number)
            .collect();
        let mut found = Self::default();
        found.visit(tokens, "");
        found.lines.retain(|line| !blank.contains(line));
        Ok(found)
    }

    /// Walks the tokens of the module `inside`.
    fn visit(&mut self, tokens: TokenStream, inside: &str) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = match attribute(rest) {
                Some((attribute, after)) if attribute.is_off() => without_item(after),
                Some((attribute, after)) if attribute.name() == "doc" => after,
                _ => {
                    self.take(token, after, inside);
                    after
                }
            };
        }
    }

    fn take(&mut self, token: &TokenTree, after: &[TokenTree], inside: &str) {
        match token {
            TokenTree::Group(group) => {
                self.mark(group.span_open().start(), group.span_open().end());
                self.mark(group.span_close().start(), group.span_close().end());
                self.visit(group.stream(), inside);
            }
            TokenTree::Ident(word) if word == "mod" => {
                self.mark(word.span().start(), word.span().end());
                self.modules.extend(file_module(after));
            }
            other => self.mark(other.span().start(), other.span().end()),
        }
    }

    fn mark(&mut self, start: LineColumn, end: LineColumn) {
        self.lines.extend(start.line..=end.line);
    }
}

/// The name in `mod name;`.
fn file_module(after: &[TokenTree]) -> Option<String> {
    match after {
        [TokenTree::Ident(name), TokenTree::Punct(end), ..] if end.as_char() == ';' => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// What stands in the brackets of an attribute.
struct Attribute(Vec<TokenTree>);

/// The attribute that begins here, and what follows it.
fn attribute(tokens: &[TokenTree]) -> Option<(Attribute, &[TokenTree])> {
    let is = |token: &TokenTree, sign| matches!(token, TokenTree::Punct(p) if p.as_char() == sign);
    let (hash, after) = tokens.split_first()?;
    let (mark, behind) = after.split_first()?;
    let rest = if is(mark, '!') { behind } else { after };
    match rest.split_first()? {
        (TokenTree::Group(group), after)
            if is(hash, '#') && group.delimiter() == Delimiter::Bracket =>
        {
            Some((Attribute(group.stream().into_iter().collect()), after))
        }
        _ => None,
    }
}

impl Attribute {
    fn name(&self) -> String {
        self.0.first().map(ToString::to_string).unwrap_or_default()
    }

    /// Whether it takes away what it stands before.
    fn is_off(&self) -> bool {
        match self.0.as_slice() {
            [TokenTree::Ident(name), TokenTree::Group(group)] if name == "cfg" => !holds(group),
            _ => false,
        }
    }
}

/// Whether every condition in the parentheses holds on bare metal, in no test and without
/// features. One that is not known does.
fn holds(group: &Group) -> bool {
    conditions(group)
        .iter()
        .all(|condition| condition_holds(condition))
}

fn condition_holds(condition: &[TokenTree]) -> bool {
    match condition {
        [TokenTree::Ident(name)] => name != "test",
        [TokenTree::Ident(name), TokenTree::Group(group)] => match name.to_string().as_str() {
            "not" => !holds(group),
            "any" => conditions(group).iter().any(|one| condition_holds(one)),
            _ => holds(group),
        },
        [
            TokenTree::Ident(name),
            TokenTree::Punct(_),
            TokenTree::Literal(value),
        ] => match name.to_string().as_str() {
            "feature" => false,
            "target_os" => value.to_string() == "\"none\"",
            "target_arch" => value.to_string() == "\"x86_64\"",
            _ => true,
        },
        _ => true,
    }
}

/// The parts between commas.
fn conditions(group: &Group) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    let parts = tokens.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','));
    parts
        .filter(|part| !part.is_empty())
        .map(<[_]>::to_vec)
        .collect()
}

/// What follows the item, statement, arm or field that begins here.
fn without_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let mut rest = tokens;
    while let Some((_, after)) = attribute(rest) {
        rest = after;
    }
    let has_commas =
        matches!(rest.first(), Some(TokenTree::Ident(word)) if is_keyword(&word.to_string()));
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => {
            punct.as_char() == ';' || (punct.as_char() == ',' && !has_commas)
        }
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    let end = rest.iter().position(ends).map_or(rest.len(), |at| at + 1);
    let after = rest.get(end..).unwrap_or_default();
    match after.split_first() {
        Some((TokenTree::Punct(punct), behind)) if matches!(punct.as_char(), ';' | ',') => behind,
        _ => after,
    }
}

/// Whether an item begins with the word: then a comma does not end it.
fn is_keyword(word: &str) -> bool {
    const WORDS: [&str; 14] = [
        "pub", "fn", "mod", "impl", "struct", "enum", "use", "const", "static", "unsafe", "extern",
        "type", "trait", "let",
    ];
    WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Vec<usize> {
        Found::of(text).unwrap().lines.into_iter().collect()
    }

    #[test]
    fn a_line_of_code_has_a_token_that_is_no_comment() {
        let text = "//! doc\n\n/// doc\n/* a\nb */\nfn f() { // why\n\n    g();\n    // no\n}\n";
        assert_eq!(counted(text), [6, 8, 10]);
    }

    #[test]
    fn text_over_several_lines_counts_without_its_blank_ones() {
        assert_eq!(counted("asm!(\n  \"a\n\n  b\"\n);\n"), [1, 2, 4, 5]);
    }

    #[test]
    fn what_is_off_on_bare_metal_does_not_count_and_what_follows_it_does() {
        for off in [
            "#[cfg(test)]\nmod tests {\n    fn f() {}\n}",
            "#[cfg(test)]\n#[derive(A)]\nstruct S<A, B>(A, B);",
            "#[cfg(not(target_os = \"none\"))]\nfn f<A, B>(a: A) -> B {\n}",
            "#[cfg(any(test, feature = \"std\"))]\nuse a::{b,\n c};",
            "#[cfg(all(target_os = \"none\", test))]\nconst A: [u8; 2] = B {\n};",
        ] {
            let lines = off.lines().count();
            let text = format!("{off}\nfn on() {{}}\n");
            assert_eq!(counted(&text), [lines + 1], "{off}");
        }
        let arms = "match a {\n    #[cfg(test)]\n    A => 1,\n    B => 2,\n}\n";
        assert_eq!(counted(arms), [1, 4, 5]);
    }

    #[test]
    fn what_is_on_counts() {
        let text =
            "#[cfg(target_os = \"none\")]\n#[inline]\nfn f() {}\n#[cfg(not(test))]\nfn g() {}\n";
        assert_eq!(counted(text), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn modules_are_followed_into_their_files_unless_they_are_off() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("lib.rs", "mod a;\npub mod b;\n#[cfg(test)]\nmod tests;\n");
        put("a.rs", "mod c;\nfn a() {}\n");
        put("a/c.rs", "fn c() {}\n");
        put("b/mod.rs", "fn b() {}\n");
        put("tests.rs", "fn t() {}\n");
        assert_eq!(lines(&folder.path().join("lib.rs")).unwrap(), 2 + 2 + 1 + 1);
        put("b/mod.rs", "mod gone;\n");
        assert!(lines(&folder.path().join("lib.rs")).is_err());
    }
}
