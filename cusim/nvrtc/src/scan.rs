//! Reads a preprocessed program just well enough to find its kernels, and to rewrite
//! `extern __shared__` arrays.
//!
//! It works on tokens, after the preprocessor: kernels made by macros are found, comments and
//! strings are not mistaken for code.
#![forbid(unsafe_code)]

use std::ops::Range;

/// A kernel that is a plain function. Template kernels come in through name expressions.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// As one writes it at file scope: `reduce`, `ns::reduce`.
    pub name: String,
    /// The first argument of its `__launch_bounds__`, as written.
    pub bound: Option<String>,
}

/// Finds the kernels of preprocessed `source` and returns it rewritten for g++.
pub fn scan(source: &str) -> (Vec<Kernel>, String) {
    let scanner = Scanner { source, tokens: tokenize(source) };
    let mut kernels = Vec::new();
    scanner.scope(0, "", &mut kernels);
    (kernels, scanner.rewrite())
}

struct Scanner<'a> {
    source: &'a str,
    tokens: Vec<Range<usize>>,
}

/// What looks like a call in a declaration but does not name the function declared.
const NOT_A_NAME: &[&str] = &[
    "__launch_bounds__",
    "__cluster_dims__",
    "__attribute__",
    "__align__",
    "__asm__",
    "asm",
    "alignas",
    "decltype",
    "noexcept",
    "explicit",
];

impl Scanner<'_> {
    fn text(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |range| &self.source[range.clone()])
    }

    /// Reads declarations from token `i` to the end of the scope; returns where that is.
    fn scope(&self, mut i: usize, prefix: &str, kernels: &mut Vec<Kernel>) -> usize {
        let mut start = i;
        while i < self.tokens.len() {
            match self.text(i) {
                "}" => return i + 1,
                ";" => {
                    i += 1;
                    start = i;
                }
                "(" => i = self.skip(i),
                "{" => {
                    let head = start..i;
                    if self.opens_scope(&head) {
                        let inner = format!("{prefix}{}", self.namespace(&head));
                        i = self.scope(i + 1, &inner, kernels);
                    } else {
                        let end = self.skip(i);
                        self.definition(&head, prefix, kernels);
                        i = end;
                    }
                    start = i;
                }
                _ => i += 1,
            }
        }
        i
    }

    /// Whether the brace after `head` holds more declarations of file scope.
    fn opens_scope(&self, head: &Range<usize>) -> bool {
        let linkage = self.text(head.start) == "extern" && head.len() == 2;
        linkage || head.clone().any(|i| self.text(i) == "namespace")
    }

    /// `A::` for `namespace A {`; nothing for `extern "C" {` and unnamed namespaces.
    fn namespace(&self, head: &Range<usize>) -> String {
        let names = head.clone().map(|i| self.text(i));
        let name: String = names.skip_while(|&t| t != "namespace").skip(1).collect();
        if name.is_empty() { name } else { name + "::" }
    }

    /// Notes the function defined by `head` and what follows, if it is a kernel.
    fn definition(&self, head: &Range<usize>, prefix: &str, kernels: &mut Vec<Kernel>) {
        let template = self.text(head.start) == "template";
        if template || !head.clone().any(|i| self.text(i) == "__global__") {
            return;
        }
        if let Some(name) = self.declared_name(head) {
            let name = format!("{prefix}{name}");
            kernels.push(Kernel { name, bound: self.launch_bound(head) });
        }
    }

    /// The function that a declaration declares.
    fn declared_name(&self, head: &Range<usize>) -> Option<&str> {
        let mut i = head.start;
        while i < head.end {
            let next_is_parenthesis = self.text(i + 1) == "(" && i + 1 < head.end;
            match self.text(i) {
                t if NOT_A_NAME.contains(&t) && next_is_parenthesis => i = self.skip(i + 1),
                t if is_identifier(t) && next_is_parenthesis => return Some(t),
                _ => i += 1,
            }
        }
        None
    }

    fn launch_bound(&self, head: &Range<usize>) -> Option<String> {
        let at = head.clone().find(|&i| self.text(i) == "__launch_bounds__")?;
        let end = self.skip(at + 1) - 1;
        let mut i = at + 2;
        while i < end && self.text(i) != "," {
            i = if matches!(self.text(i), "(" | "{") { self.skip(i) } else { i + 1 };
        }
        let (from, to) = (self.tokens.get(at + 2)?.start, self.tokens.get(i)?.start);
        Some(self.source[from..to].replace('\n', " ").trim().to_owned())
    }

    /// Past the bracket that closes the one at `i`.
    fn skip(&self, mut i: usize) -> usize {
        let mut depth = 0;
        while i < self.tokens.len() {
            match self.text(i) {
                "(" | "{" | "[" => depth += 1,
                ")" | "}" | "]" => depth -= 1,
                _ => {}
            }
            i += 1;
            if depth == 0 {
                break;
            }
        }
        i
    }

    /// The source with every `extern __shared__ T x[];` made an alias of the shim's buffer and
    /// every `#pragma unroll` made g++'s.
    fn rewrite(&self) -> String {
        let mut out = String::with_capacity(self.source.len() + 256);
        let mut copied = 0;
        let mut i = 0;
        while i < self.tokens.len() {
            let end = (i..self.tokens.len()).find(|&j| matches!(self.text(j), ";" | "{" | "}"));
            let Some(end) = end else { break };
            let statement = i..end;
            let is = |word: &str| statement.clone().find(|&j| self.text(j) == word);
            if let (Some(_), Some(shared), ";") = (is("extern"), is("__shared__"), self.text(end)) {
                let shared = &self.tokens[shared];
                out.push_str(&self.source[copied..shared.start]);
                out.push_str(&self.source[shared.end..self.tokens[end].start]);
                out.push_str(r#" __asm__("cusim_dynamic") __attribute__((visibility("hidden")))"#);
                copied = self.tokens[end].start;
            }
            i = end + 1;
        }
        out.push_str(&self.source[copied..]);
        out.split_inclusive('\n').map(unroll).collect()
    }
}

/// `#pragma unroll [n]` in g++'s words; any other line as it is.
fn unroll(line: &str) -> String {
    let pragma = line.trim_start().strip_prefix('#').map(str::trim_start);
    let unroll = pragma.and_then(|p| p.strip_prefix("pragma")).map(str::trim);
    let Some(count) = unroll.and_then(|p| p.strip_prefix("unroll")) else { return line.to_owned() };
    let count = count.trim().trim_start_matches('(').trim_end_matches(')').trim();
    match count.parse::<u32>() {
        Ok(n) => format!("#pragma GCC unroll {}\n", n.min(65534)),
        // Loops of an unknown length are unrolled too: not too far.
        Err(_) if count.is_empty() => "#pragma GCC unroll 16\n".to_owned(),
        // A constant expression, which g++ takes no more than the preprocessor does.
        Err(_) => "\n".to_owned(),
    }
}

fn is_identifier(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Splits C++ into identifiers, literals and single punctuation characters, without comments and
/// preprocessor lines.
fn tokenize(source: &str) -> Vec<Range<usize>> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut i = 0;
    let mut line_start = true;
    while i < bytes.len() {
        let start = i;
        let rest = &source.as_bytes()[i..];
        match bytes[i] {
            b'\n' => {
                line_start = true;
                i += 1;
                continue;
            }
            b if b.is_ascii_whitespace() => {
                i += 1;
                continue;
            }
            b'#' if line_start => {
                i = line_end(bytes, i);
                continue;
            }
            b'/' if rest.starts_with(b"//") => {
                i = line_end(bytes, i);
                continue;
            }
            b'/' if rest.starts_with(b"/*") => {
                i = find(bytes, i + 2, b"*/");
                continue;
            }
            b'R' if rest.starts_with(b"R\"") => i = raw_string_end(bytes, i + 2),
            quote @ (b'"' | b'\'') => i = quoted_end(bytes, i + 1, quote),
            b if b.is_ascii_digit() => {
                // Digit separators belong to the number: 1'000 opens no character literal.
                while i < bytes.len()
                    && (bytes[i].is_ascii_alphanumeric()
                        || matches!(bytes[i], b'.' | b'_')
                        || (bytes[i] == b'\''
                            && bytes.get(i + 1).is_some_and(u8::is_ascii_alphanumeric)))
                {
                    i += 1;
                }
            }
            b if b.is_ascii_alphabetic() || b == b'_' => {
                while i < bytes.len() && (bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_') {
                    i += 1;
                }
            }
            b if b < 0x80 => i += 1,
            // A character of several bytes, in an identifier: no kernel is called that.
            _ => i += source[i..].chars().next().map_or(1, char::len_utf8),
        }
        line_start = false;
        tokens.push(start..i);
    }
    tokens
}

/// Past the end of a line, which a backslash continues.
fn line_end(bytes: &[u8], mut i: usize) -> usize {
    while i < bytes.len() && bytes[i] != b'\n' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i.min(bytes.len())
}

/// Past the next `needle`.
fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let at = rest.windows(needle.len()).position(|w| w == needle);
    at.map_or(bytes.len(), |at| from + at + needle.len())
}

fn quoted_end(bytes: &[u8], mut i: usize, quote: u8) -> usize {
    while i < bytes.len() && bytes[i] != quote && bytes[i] != b'\n' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(bytes.len())
}

fn raw_string_end(bytes: &[u8], from: usize) -> usize {
    let open = find(bytes, from, b"(");
    let mut end = vec![b')'];
    end.extend_from_slice(&bytes[from..open.saturating_sub(1).max(from)]);
    end.push(b'"');
    find(bytes, open, &end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(source: &str) -> Vec<String> {
        scan(source).0.into_iter().map(|k| k.name).collect()
    }

    #[test]
    fn finds_kernels_wherever_they_are() {
        let source = r##"
            // __global__ void commented() {}
            extern "C" __global__ void a(float* x) { x[0] = '"'; }
            extern "C" { static __device__ int f(int); __global__ void b() { if (1) { f(1'000); } } }
            namespace n { namespace { __global__ __launch_bounds__(64, 2) void c() {} } }
            template <class T, int N = (1 > 0)> __global__ void d(T* x) {}
            struct S { int x; }; __constant__ int t[2] = {1, 2};
            __global__ void e(S s);
            __global__ void e(S s) { const char* t = "__global__ void g() {}"; }
            const char* raw = R"x(__global__ void h() {})x";
        "##;
        assert_eq!(kernels(source), ["a", "b", "n::c", "e"]);
        assert_eq!(scan(source).0[2].bound.as_deref(), Some("64"));
    }

    #[test]
    fn rewrites_dynamic_shared_memory_and_keeps_lines() {
        let source = "__global__ void k() {\n  extern __shared__ __align__(16) float\n s[];\n s[0] = 1;\n}\nint i = 0;\n#pragma unroll\n";
        let (_, out) = scan(source);
        assert_eq!(out.lines().count(), source.lines().count());
        assert!(!out.contains("__shared__"));
        assert!(out.contains("s[] __asm__(\"cusim_dynamic\")"), "{out}");
        assert!(out.contains("#pragma GCC unroll 16"));
    }
}
