//! The examples in a piece of documentation, and what they call.

use proc_macro2::{TokenStream, TokenTree};

use crate::functions::{PublicFunction, Receiver};

/// One block of code that documentation tests run.
#[derive(Debug)]
pub(crate) struct Example {
    /// The tokens without `use` declarations, groups opened up; only a parenthesis leaves a mark of its own.
    tokens: Vec<String>,
}

impl Example {
    /// Finds the examples of `doc`; what is marked `ignore`, `text`, `no_run` or `compile_fail` is none.
    ///
    /// # Panics
    ///
    /// If an example is not made of Rust's tokens.
    pub(crate) fn all_in(doc: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut lines = doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
        while let Some(fence) = lines.by_ref().find_map(|line| line.strip_prefix("```")) {
            let code: Vec<&str> =
                lines.by_ref().take_while(|line| !line.starts_with("```")).map(visible).collect();
            if !matches!(fence, "" | "rust" | "should_panic") {
                continue;
            }
            let code: TokenStream = code.join("\n").parse().expect("an example is Rust");
            let mut tokens = Vec::new();
            flatten(code, &mut tokens);
            found.push(Self { tokens: without_uses(tokens) });
        }
        found
    }

    /// Answers whether the example names `function` in a way that calls it or hands it on.
    pub(crate) fn calls(&self, function: &PublicFunction) -> bool {
        let at = |index: usize| self.tokens.get(index).map_or("", |token| &**token);
        self.tokens.iter().enumerate().filter(|(_, token)| **token == function.name).any(|(index, _)| {
            let before = |count: usize| index.checked_sub(count).map_or("", at);
            let called = at(index + 1) == "(" || (at(index + 1) == ":" && at(index + 3) == "<");
            let qualified = before(1) == ":" && before(2) == ":";
            let of = |owner: &str| qualified && (before(3) == owner || before(3) == ">");
            match &function.receiver {
                Receiver::Value(owner) => (called && before(1) == ".") || of(owner),
                Receiver::Type(owner) => of(owner),
                Receiver::None => qualified || (called && before(1) != "." && before(1) != "fn"),
            }
        })
    }
}

/// Uncovers a line that the rendered example hides.
fn visible(line: &str) -> &str {
    if line == "#" { "" } else { line.strip_prefix("# ").unwrap_or(line) }
}

fn flatten(code: TokenStream, tokens: &mut Vec<String>) {
    for token in code {
        match token {
            TokenTree::Group(group) => {
                if group.delimiter() == proc_macro2::Delimiter::Parenthesis {
                    tokens.push("(".into());
                }
                flatten(group.stream(), tokens);
            }
            other => tokens.push(other.to_string()),
        }
    }
}

/// Leaves the `use` declarations out, which name what they do not call.
fn without_uses(tokens: Vec<String>) -> Vec<String> {
    let mut inside = false;
    let mut keep = |token: &String| {
        let skipped = inside || token == "use";
        inside = skipped && token != ";";
        !skipped
    };
    tokens.into_iter().filter(|token| keep(token)).collect()
}

#[test]
fn a_call_is_told_from_a_mention() {
    let function = |name: &str, receiver| PublicFunction {
        path: name.into(),
        name: name.into(),
        receiver,
        file: "lib.rs".into(),
        own_doc: String::new(),
        page_docs: Vec::new(),
    };
    let shows = |code: &str, function: &PublicFunction| {
        Example::all_in(&format!(" Text.\n ```\n {code}\n ```\n more"))
            .iter()
            .any(|example| example.calls(function))
    };
    let method = function("pop", Receiver::Value("Stack".into()));
    for (code, expected) in [
        ("assert!(stack.pop().is_none());", true),
        ("# stack.pop::<4>();", true),
        ("stacks.map(Stack::pop);", true),
        ("Queue::pop();", false),
        ("stack.pop;", false),
        ("// stack.pop()", false),
        ("stack.push(pop);", false),
    ] {
        assert_eq!(shows(code, &method), expected, "{code}");
    }
    let made = function("new", Receiver::Type("Stack".into()));
    assert!(shows("let stack = Stack::new();", &made) && shows("Stack::<u8>::new();", &made));
    assert!(!shows("let queue = Queue::new();", &made));
    let free = function("heavy", Receiver::None);
    assert!(shows("use fence::heavy; heavy();", &free) && shows("fence::heavy();", &free));
    assert!(
        !shows("use fence::heavy;", &free) && !shows("fn heavy() {}", &free) && !shows("it.heavy();", &free)
    );
}

#[test]
fn only_what_runs_counts() {
    let count = |fence: &str| Example::all_in(&format!("```{fence}\nf();\n```\n```{fence}\ng();\n```")).len();
    assert_eq!((count(""), count("should_panic")), (2, 2));
    assert_eq!((count("no_run"), count("ignore"), count("text"), count("compile_fail")), (0, 0, 0, 0));
}
