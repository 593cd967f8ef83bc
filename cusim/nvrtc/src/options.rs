//! NVRTC's command line: what matters here, what is accepted and ignored, what is refused.
#![forbid(unsafe_code)]

/// The targets this NVRTC compiles for, as NVRTC 13 does.
pub const ARCHS: [u32; 12] = [75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121];

/// What a program is compiled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Compute capability times ten.
    pub arch: u32,
    /// For one real target (`sm_86`), so that there is a CUBIN.
    pub real: bool,
    /// `-D`, `-U` and `-I` options for g++.
    pub preprocessor: Vec<String>,
    /// Whether `a * b + c` may become one rounding.
    pub fmad: bool,
    /// The C++ standard, such as `c++17`.
    pub standard: String,
}

/// Options without a value that change nothing on a CPU.
const IGNORED: &[&str] = &[
    "-lineinfo",
    "--generate-line-info",
    "-G",
    "--device-debug",
    "-dopt",
    "-w",
    "--disable-warnings",
    "-rdc",
    "-dc",
    "-dw",
    "-dlto",
    "-default-device",
    "--device-as-default-execution-space",
    "-extra-device-vectorization",
    "--extra-device-vectorization",
    "-use_fast_math",
    "--use_fast_math",
    "-minimal",
    "--minimal",
    "-pch",
    "--pch",
    "-restrict",
    "--restrict",
    "-no-source-include",
    "--no-source-include",
    "-device-int128",
    "--device-int128",
    "-err-no",
    "--display-error-number",
    "-no-err-no",
    "--no-display-error-number",
    "-no-cache",
    "--no-cache",
    "-ewp",
    "--extensible-whole-program",
];

/// Options with `=value` that change nothing on a CPU.
const IGNORED_VALUED: &[&str] = &[
    "--ptxas-options",
    "-Xptxas",
    "--maxrregcount",
    "-maxrregcount",
    "--ftz",
    "-ftz",
    "--prec-sqrt",
    "-prec-sqrt",
    "--prec-div",
    "-prec-div",
    "--relocatable-device-code",
    "--dopt",
    "--diag-suppress",
    "-diag-suppress",
    "--diag-warn",
    "--diag-error",
    "--split-compile",
    "-split-compile",
    "--optimization-info",
    "--modify-stack-limit",
    "--builtin-move-forward",
    "--builtin-initializer-list",
    "--brief-diagnostics",
    "--time",
    "-time",
    "--fdevice-syntax-only",
    "--jump-table-density",
    "-jtd",
    "--pch-dir",
    "--use-pch",
    "--create-pch",
    "--device-stack-protector",
];

impl Options {
    /// Reads NVRTC's options; the error is what goes to the program log.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self {
            arch: 75,
            real: false,
            preprocessor: Vec::new(),
            fmad: true,
            standard: "c++17".to_owned(),
        };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            // `--option value` and `-D NAME` are two arguments, `--option=value` is one.
            let mut value = |joined: Option<&str>| match joined {
                Some(value) => Ok(value.to_owned()),
                None => rest.next().cloned().ok_or(format!("{arg} needs a value")),
            };
            let (name, joined) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") || !is_short(name) => {
                    (name, Some(value))
                }
                _ => (arg.as_str(), None),
            };
            match name {
                "--gpu-architecture" | "-arch" => {
                    (options.arch, options.real) = parse_arch(&value(joined)?)?;
                }
                "--std" | "-std" => options.standard = parse_standard(&value(joined)?)?,
                "--fmad" | "-fmad" => options.fmad = value(joined)? != "false",
                "--define-macro" => options.preprocessor.push(format!("-D{}", value(joined)?)),
                "--undefine-macro" => options.preprocessor.push(format!("-U{}", value(joined)?)),
                "--include-path" => options.preprocessor.push(format!("-I{}", value(joined)?)),
                "-D" | "-U" | "-I" => options.preprocessor.push(format!("{name}{}", value(None)?)),
                _ if is_short(name) => options.preprocessor.push(arg.clone()),
                _ if IGNORED_VALUED.contains(&name) => _ = value(joined)?,
                _ if IGNORED.contains(&name) => {}
                _ => return Err(format!("unrecognized option {arg} found")),
            }
        }
        Ok(options)
    }
}

/// `-DNAME=1`, `-UNAME`, `-Ipath`.
fn is_short(arg: &str) -> bool {
    arg.len() > 2 && matches!(&arg[..2], "-D" | "-U" | "-I")
}

fn parse_arch(value: &str) -> Result<(u32, bool), String> {
    let invalid = || format!("invalid value for --gpu-architecture (-arch): {value}");
    let real = value.starts_with("sm_");
    let number = value.strip_prefix("sm_").or(value.strip_prefix("compute_"));
    let number = number.map(|n| n.trim_end_matches(['a', 'f'])).and_then(|n| n.parse().ok());
    let arch = number.filter(|n| ARCHS.contains(n)).ok_or_else(invalid)?;
    Ok((arch, real))
}

fn parse_standard(value: &str) -> Result<String, String> {
    match value {
        "c++03" | "c++11" | "c++14" | "c++17" | "c++20" => {
            // The shim itself needs C++17.
            Ok(if value == "c++20" { "c++20" } else { "c++17" }.to_owned())
        }
        _ => Err(format!("invalid value for --std: {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(&args.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn defines_in_every_spelling() {
        let options =
            parse(&["-DA", "-DB=2", "-D", "C=3", "--define-macro=D=4", "-DE==5"]).unwrap();
        assert_eq!(options.preprocessor, ["-DA", "-DB=2", "-DC=3", "-DD=4", "-DE==5"]);
    }

    #[test]
    fn targets() {
        let options = parse(&["--gpu-architecture=sm_90a"]).unwrap();
        assert_eq!((options.arch, options.real), (90, true));
        let options = parse(&["-arch", "compute_80"]).unwrap();
        assert_eq!((options.arch, options.real), (80, false));
        assert!(parse(&["--gpu-architecture=sm_70"]).unwrap_err().contains("sm_70"));
    }

    #[test]
    fn ignores_what_it_knows_and_refuses_the_rest() {
        assert!(parse(&["--ptxas-options=-v", "-lineinfo", "--fmad=true", "--std=c++17"]).is_ok());
        assert!(!parse(&["--fmad=false"]).unwrap().fmad);
        assert!(parse(&["--no-such-option"]).unwrap_err().contains("unrecognized"));
    }
}
