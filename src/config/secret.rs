//! Secrets: `${VARIABLE}` in a text, and files that hold one.
//!
//! An error here names the variable or the file, never what it holds.

use std::{collections::BTreeMap, fs};

/// Environment variables by name.
pub(super) type Variables = BTreeMap<String, String>;

/// Whether a text is a reference to a variable and holds nothing else.
pub(super) fn is_reference(text: &str) -> bool {
    text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(is_name)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Puts the values of the variables that a text names in their places; `$${` stands for a plain `${`.
pub(super) fn expand(text: &str, variables: &Variables) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            expanded.push_str(&rest[..at - 1]);
            expanded.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        expanded.push_str(&rest[..at]);
        let (name, after) =
            rest[at + 2..].split_once('}').ok_or("`${` without its `}`; write `$${` for a plain `${`")?;
        if !is_name(name) {
            return Err("`${…}` must hold the name of an environment variable; write `$${` for a plain `${`"
                .to_owned());
        }
        let value = variables.get(name).ok_or_else(|| {
            format!("the environment variable {name} is not set; set it, or write `$${{` for a plain `${{`")
        })?;
        expanded.push_str(value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// What a secret's file holds, without white space around it.
pub(super) fn read_file(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("can't read the file {path}: {error}"))?;
    match text.trim() {
        "" => Err(format!("the file {path} is empty; put the value into it")),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn variables() -> Variables {
        [("USER".to_owned(), "ann".to_owned()), ("DOLLARS".to_owned(), "a${USER}$".to_owned())].into()
    }

    #[test]
    fn variables_are_put_in_once_and_escapes_stay() {
        assert_eq!(expand("x=${USER}/${USER}", &variables()).unwrap(), "x=ann/ann");
        assert_eq!(expand("$${USER} costs $5", &variables()).unwrap(), "${USER} costs $5");
        assert_eq!(
            expand("${DOLLARS}", &variables()).unwrap(),
            "a${USER}$",
            "a secret's own text is not expanded again"
        );
    }

    #[test]
    fn a_missing_variable_is_named() {
        assert!(expand("${PASSWORD}", &variables()).unwrap_err().contains("variable PASSWORD is not set"));
        assert!(expand("${USER", &variables()).is_err());
        assert!(expand("${}", &variables()).is_err());
        assert!(!expand("${hunter 2}", &variables()).unwrap_err().contains("hunter"));
    }
}
