//! Whatever the documents tell users to type is what this command line takes.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use clap::{Parser as _, error::ErrorKind};

use super::Cli;

/// The commands in a document's code blocks, without comments, joined where a line goes on. Where a block has a prompt, what is behind none
/// is what a command prints.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let blocks = text.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| {
        let has_prompt = block.contains("\n$ ");
        block.lines().filter_map(move |line| if has_prompt { line.strip_prefix("$ ") } else { Some(line) })
    });
    let commands = lines.map(str::trim).filter(|line| line.starts_with("tailwater "));
    let commands = commands.map(|line| line.split(" #").next().unwrap().split(" | ").next().unwrap());
    // Not what a reader fills in, or leaves out.
    let is_open = |word: &str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let commands =
        commands.filter(|line| !line.contains(['…', '[', '<']) && !line.split_whitespace().any(is_open));
    commands.map(str::to_owned).collect()
}

/// Words as a shell splits them, with single and double quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for c in command.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_in_the_documents_is_one_that_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    documents.extend(fs::read_dir(root.join("docs")).unwrap().map(|file| file.unwrap().path()));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut num_seen = 0;
    for path in documents {
        for command in commands(&fs::read_to_string(&path).unwrap()) {
            num_seen += 1;
            if let Err(error) = Cli::try_parse_from(words(&command)) {
                let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                assert!(is_help, "{}: {command}\n{error}", path.display());
            }
        }
    }
    assert!(num_seen > 20, "{num_seen}");
}
