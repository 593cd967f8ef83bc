//! Two processes at once in one folder, and in one cache of kernels.

use crate::common::program::{Signal, finish, run, signal, signet, start, stderr};
use crate::disk::wait_for_state;
use crate::whole::{Whole, resume, run_resume};
use std::process::Child;

#[test]
fn a_folder_in_which_a_run_works_is_refused() {
    let whole = Whole::new(4, 64);
    let folder = whole.place.run_folder("busy");
    let mut first = whole.start("busy");
    wait_for_state(&mut first, &folder);
    // It holds the folder, and takes as long as we like.
    signal(first.id(), Signal::SIGSTOP);
    let second = run_resume(&folder);
    let third = run(&whole.args("busy"));
    signal(first.id(), Signal::SIGCONT);
    for (output, says) in
        [(second, "another process is training in it"), (third, "is there already")]
    {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    let output = finish(first);
    assert!(output.status.success(), "{}", stderr(&output));
    whole.compare("busy");
    assert!(run_resume(&folder).status.success(), "the folder is free again");
}

#[test]
fn runs_that_begin_at_once_do_not_meet() {
    let whole = Whole::new(2, 32);
    for round in 0..3 {
        // One name: one of them gets it.
        let name = format!("same-{round}");
        let children: Vec<Child> = (0..4).map(|_| whole.start(&name)).collect();
        let outputs: Vec<_> = children.into_iter().map(finish).collect();
        let done = outputs.iter().filter(|output| output.status.success()).count();
        assert_eq!(done, 1, "{outputs:?}");
        let refused = |text: &str| text.contains("is there already");
        assert_eq!(outputs.iter().filter(|output| refused(&stderr(output))).count(), 3);
        whole.compare(&name);
    }
    // No name: each gets one.
    let mut args = whole.args("");
    let at = args.iter().position(|arg| *arg == "--name").unwrap();
    args.drain(at..at + 2);
    let children: Vec<Child> = (0..4).map(|_| start(&mut signet(&args))).collect();
    for output in children.into_iter().map(finish) {
        assert!(output.status.success(), "{}", stderr(&output));
    }
    (1..=4).for_each(|number| whole.compare(&format!("asl-{number}")));
}

#[test]
fn who_goes_on_at_once_waits_or_is_refused() {
    let whole = Whole::new(3, 64);
    let folder = whole.place.run_folder("stopped");
    let mut child = whole.start("stopped");
    wait_for_state(&mut child, &folder);
    child.kill().unwrap();
    child.wait().unwrap();
    let children: Vec<Child> = (0..4).map(|_| start(&mut resume(&folder))).collect();
    let outputs: Vec<_> = children.into_iter().map(finish).collect();
    assert!(outputs.iter().any(|output| output.status.success()), "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        assert!(stderr(output).contains("another process is training in it"), "{output:?}");
    }
    whole.compare("stopped");
}

/// The cache of compiled kernels, on a GPU that cusim plays.
#[cfg(target_arch = "x86_64")]
mod kernels {
    use crate::common::machine::Machine;
    use crate::common::program::{Place, finish, start, stderr};
    use needs::test_on_cusim as test;
    use std::fs;

    const SHORT: [&str; 5] = ["--device", "cuda", "--epochs", "1", "-q"];
    const MODEL: &str = "model.safetensors";

    fn compiled(machine: &Machine) -> usize {
        machine.calls().iter().filter(|call| *call == "nvrtcCompileProgram").count()
    }

    #[test]
    fn several_processes_fill_one_cache() {
        let (machine, place) = (Machine::new(), Place::new(3, 2));
        let names = ["a", "b", "c"];
        let children = names.map(|name| start(&mut machine.signet(&place.train(name, &SHORT))));
        for output in children.map(finish) {
            assert!(output.status.success(), "{}", stderr(&output));
        }
        assert!(compiled(&machine) > 0);
        for name in &names[1..] {
            assert!(place.file(name, MODEL) == place.file("a", MODEL));
        }
        machine.forget();
        machine.run_clean(&place.train("d", &SHORT));
        assert_eq!(compiled(&machine), 0, "the cache is not whole");
        let entries = fs::read_dir(machine.kernel_cache()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let rest: Vec<_> = names.filter(|name| !name.ends_with(".kernel")).collect();
        assert!(rest.is_empty(), "{rest:?}");
    }

    /// A full cache on a read-only disk is as good as any, an empty one is none.
    #[needs::test(cxx, mount)]
    fn a_cache_on_a_read_only_disk_is_read() {
        let (machine, place) = (Machine::new(), Place::new(3, 2));
        let cache = machine.kernel_cache();
        let read_only = |name: &str| {
            let inner = machine.signet(&place.train(name, &SHORT));
            let mut outer = crate::disk::read_only(&cache, &inner);
            let output = finish(start(&mut outer));
            assert!(output.status.success(), "{name}: {}", stderr(&output));
        };
        fs::create_dir(&cache).unwrap();
        read_only("empty");
        assert!(compiled(&machine) > 0);
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
        machine.run_clean(&place.train("fills", &SHORT));
        machine.forget();
        read_only("full");
        assert_eq!(compiled(&machine), 0);
        for name in ["fills", "full"] {
            assert!(place.file(name, MODEL) == place.file("empty", MODEL), "{name}");
        }
    }
}
