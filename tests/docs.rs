//! The documents: that their links lead somewhere.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Component, Path, PathBuf},
};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A document's links, and the anchors that links may name.
struct Document {
    links: Vec<String>,
    anchors: Vec<String>,
}

impl Document {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (mut links, mut anchors) = (Vec::new(), Vec::new());
        let mut heading: Option<String> = None;
        let mut seen: HashMap<String, usize> = HashMap::new();
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    links.push(dest_url.to_string())
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap());
                    let before = seen.entry(slug.clone()).or_default();
                    anchors.push(if *before == 0 { slug } else { format!("{slug}-{before}") });
                    *before += 1;
                }
                Event::Text(part) | Event::Code(part) => {
                    heading.iter_mut().for_each(|heading| heading.push_str(&part))
                }
                _ => {}
            }
        }
        Self { links, anchors }
    }
}

/// A heading's anchor, as GitHub makes it.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// All documents of the project.
fn documents() -> BTreeMap<PathBuf, Document> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["", "docs", "deploy", "deploy/helm/tailwater"];
    let files = folders.iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok()).flatten();
    let paths = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.map(|path| (path.clone(), Document::read(&path))).collect()
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, component| {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
        plain
    })
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 8, "{:?}", documents.keys());
    let mut broken = Vec::new();
    for (path, document) in &documents {
        for link in &document.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target =
                if file.is_empty() { path.clone() } else { plain(&path.parent().unwrap().join(file)) };
            let leads = target.exists()
                && anchor.is_none_or(|anchor| {
                    documents
                        .get(&target)
                        .is_some_and(|target| target.anchors.iter().any(|known| known == anchor))
                });
            if !leads {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_link_out_of_the_project_is_whole() {
    for (path, document) in documents() {
        for link in document.links.iter().filter(|link| link.contains("://")) {
            let rest = link
                .strip_prefix("https://")
                .unwrap_or_else(|| panic!("{}: {link} is not https", path.display()));
            let host = rest.split(['/', '#', '?']).next().unwrap();
            assert!(host.contains('.') && !link.contains(char::is_whitespace), "{}: {link}", path.display());
        }
    }
}

#[test]
fn every_document_is_reached_from_the_readme() {
    let documents = documents();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut reached = vec![root.join("README.md")];
    let mut next = 0;
    while let Some(path) = reached.get(next).cloned() {
        next += 1;
        let Some(document) = documents.get(&path) else { continue };
        for link in &document.links {
            let file = link.split('#').next().unwrap();
            let target = plain(&path.parent().unwrap().join(file));
            if documents.contains_key(&target) && !reached.contains(&target) {
                reached.push(target);
            }
        }
    }
    let lost: Vec<_> = documents.keys().filter(|path| !reached.contains(path)).collect();
    assert!(lost.is_empty(), "{lost:#?}");
}
