//! What can only be done between the compiler and the assembler: finding out which shared
//! variables each kernel uses, and leaving room between them.
//!
//! Shared variables are the thread-local ones (see the shim). After inlining and cloning, a
//! function's text names exactly those that it uses and the functions that it calls.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

/// Adds the map of shared variables, which the driver reads, and in check mode red zones.
pub fn finish(assembly: &str, red_zone: Option<usize>) -> String {
    let mut out = match red_zone {
        Some(bytes) => add_red_zones(assembly, bytes),
        None => assembly.to_owned(),
    };
    // Writing to a String cannot fail.
    _ = write!(
        out,
        "\t.section\t.rodata\n\t.globl\tcusim_shared_map\n\t.type\tcusim_shared_map, @object\n\
         cusim_shared_map:\n\t.string\t\"{}\"\n\t.size\tcusim_shared_map, .-cusim_shared_map\n",
        shared_map(assembly)
    );
    out
}

/// `function:variable,variable;` for each function that uses any, itself or through others.
fn shared_map(assembly: &str) -> String {
    let functions: HashSet<&str> = assembly.lines().filter_map(declared_function).collect();
    let mut uses: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    let mut calls: HashMap<&str, HashSet<&str>> = HashMap::new();
    let mut current = None;
    for line in assembly.lines() {
        let trimmed = line.trim_start();
        if let Some(label) = line.strip_suffix(':').filter(|label| functions.contains(label)) {
            current = Some(label);
        } else if trimmed.starts_with(".size") {
            current = None;
        } else if let Some((alias, target)) = alias(trimmed) {
            calls.entry(alias).or_default().insert(target);
        } else if let Some(function) = current.filter(|_| !trimmed.starts_with('.')) {
            for name in names(trimmed) {
                if let Some(variable) = name.strip_suffix("@dtpoff") {
                    uses.entry(function).or_default().insert(variable);
                } else {
                    let callee = name.split('@').next().unwrap_or(name);
                    if callee != function && functions.contains(callee) {
                        calls.entry(function).or_default().insert(callee);
                    }
                }
            }
        }
    }
    let mut sorted: Vec<_> = functions.iter().copied().chain(calls.keys().copied()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut map = String::new();
    for function in sorted {
        let reached = reachable(function, &calls);
        let used: BTreeSet<_> = reached.iter().filter_map(|f| uses.get(f)).flatten().collect();
        if !used.is_empty() {
            let used: Vec<_> = used.into_iter().copied().collect();
            _ = write!(map, "{function}:{};", used.join(","));
        }
    }
    map
}

fn reachable<'a>(from: &'a str, calls: &HashMap<&'a str, HashSet<&'a str>>) -> HashSet<&'a str> {
    let (mut reached, mut todo) = (HashSet::new(), vec![from]);
    while let Some(function) = todo.pop() {
        if reached.insert(function) {
            todo.extend(calls.get(function).into_iter().flatten());
        }
    }
    reached
}

/// `k` of `.type k, @function`.
fn declared_function(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix(".type")?;
    let (name, kind) = rest.split_once(',')?;
    (kind.trim() == "@function").then_some(name.trim())
}

/// `a` and `b` of `.set a,b`.
fn alias(line: &str) -> Option<(&str, &str)> {
    let (alias, target) = line.strip_prefix(".set")?.split_once(',')?;
    Some((alias.trim(), target.trim()))
}

/// The symbols in an instruction, with their `@dtpoff` and `@PLT`.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@')))
        .filter(|name| !name.is_empty())
}

/// Leaves room after every thread-local variable.
fn add_red_zones(assembly: &str, bytes: usize) -> String {
    let mut out = String::with_capacity(assembly.len());
    let mut shared = false;
    for line in assembly.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with(".section") {
            shared = trimmed.contains(".tbss");
        } else if matches!(trimmed, ".text" | ".data" | ".bss") {
            shared = false;
        }
        out.push_str(line);
        out.push('\n');
        if shared && trimmed.starts_with(".zero") {
            _ = writeln!(out, "\t.zero\t{bytes}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSEMBLY: &str = "\t.text\n\
        \t.type\t_Z4implv, @function\n_Z4implv:\n\tleaq\tt@tlsld(%rip), %rdi\n\
        \tcall\t__tls_get_addr@PLT\n\tmovl\t$1, u@dtpoff+4(%rax,%rbx,4)\n\tret\n\
        \t.size\t_Z4implv, .-_Z4implv\n\
        \t.type\tk, @function\nk:\n\tcall\t_Z4implv\n\tleaq\tt@dtpoff(%rax), %rbp\n\
        \t.size\tk, .-k\n\t.set\talias,k\n\
        \t.type\tother, @function\nother:\n\tret\n\t.size\tother, .-other\n";

    #[test]
    fn finds_the_shared_variables_that_a_function_reaches() {
        assert_eq!(shared_map(ASSEMBLY), "_Z4implv:u;alias:t,u;k:t,u;");
    }

    #[test]
    fn red_zones_follow_shared_variables_only() {
        let assembly =
            "\t.bss\na:\n\t.zero\t4\n\t.section\t.tbss,\"awT\",@nobits\nb:\n\t.zero\t8\n";
        let out = add_red_zones(assembly, 128);
        assert_eq!(out.matches(".zero\t128").count(), 1);
        assert!(out.ends_with("\t.zero\t8\n\t.zero\t128\n"));
    }
}
