//! Relative links in the documents lead somewhere.
//!
//! Owns the reading of Markdown links and headings. It does not follow links to other
//! hosts: those change without us. Called by `check`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::sources::{self, SourceFile};
use super::{Options, Outcome};

/// What a document offers and what it points at.
#[derive(Debug, Default)]
struct Page {
    anchors: Vec<String>,
    links: Vec<(usize, String)>,
}

/// Follows every relative link in every `.md` file.
pub(super) fn check(root: &Path, _options: &Options) -> Result<Outcome> {
    let files = sources::files(root, "md")?;
    let pages: BTreeMap<String, Page> = files
        .iter()
        .map(|file| (file.path.clone(), read(file)))
        .collect();
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for (line, link) in &page.links {
            if let Some(why) = fault(root, path, link, &pages) {
                broken.push(format!("{path}:{line}: `{link}`: {why}"));
            }
        }
    }
    let followed: usize = pages.values().map(|page| page.links.len()).sum();
    Ok(match broken.is_empty() {
        true => Outcome::Passed(format!(
            "{followed} relative links in {} documents",
            pages.len()
        )),
        false => Outcome::Failed(broken),
    })
}

fn read(file: &SourceFile) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    for (event, range) in Parser::new(&file.text).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let line = file.text[..range.start].matches('\n').count() + 1;
                page.links
                    .extend((!leaves(&dest_url)).then(|| (line, dest_url.to_string())));
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                page.anchors.extend(heading.take().map(|text| slug(&text)))
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    page
}

/// Whether the link names another host or program.
fn leaves(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

/// A heading's anchor, as code-hosting sites form it.
fn slug(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn fault(root: &Path, from: &str, link: &str, pages: &BTreeMap<String, Page>) -> Option<String> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => PathBuf::from(from),
        _ => resolve(from, file)?,
    };
    if !root.join(&target).exists() {
        return Some(format!("there is no {}", target.display()));
    }
    let page = pages.get(&sources::relative(Path::new(""), &target))?;
    let known = anchor.is_empty() || page.anchors.iter().any(|one| one == anchor);
    (!known).then(|| format!("{} has no heading #{anchor}", target.display()))
}

/// The path a link means, from the top of the repository; `None` if it leads out of it.
fn resolve(from: &str, link: &str) -> Option<PathBuf> {
    let mut path = PathBuf::from(from);
    path.pop();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        read(&SourceFile {
            path: "a/b.md".into(),
            text: text.into(),
        })
    }

    #[test]
    fn relative_links_and_pictures_are_found_with_their_lines() {
        let page = page("# T\n\n[a](c.md#x) and\n![b](p.svg) and [web](https://example.org/)\n");
        assert_eq!(page.links, [(3, "c.md#x".into()), (4, "p.svg".into())]);
    }

    #[test]
    fn headings_become_anchors_as_on_the_web() {
        let page = page("## What is *not* protected (yet), and `why`\n");
        assert_eq!(page.anchors, ["what-is-not-protected-yet-and-why"]);
    }

    #[test]
    fn a_link_is_resolved_from_its_own_document() {
        assert_eq!(resolve("a/b.md", "../c/./d.md"), Some("c/d.md".into()));
        assert_eq!(resolve("a/b.md", "../../d.md"), None);
    }

    #[test]
    fn a_missing_file_and_a_missing_heading_are_faults() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = BTreeMap::from([
            ("a/b.md".into(), page("# Here\n")),
            ("Cargo.toml".into(), page("# There\n")),
        ]);
        let fault = |link| fault(root, "x.md", link, &pages);
        assert!(fault("gone.md").is_some());
        assert!(fault("Cargo.toml#elsewhere").is_some());
        assert!(fault("Cargo.toml#there").is_none());
        assert!(fault("src").is_none());
    }
}
