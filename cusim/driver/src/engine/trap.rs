//! Illegal accesses: the signal becomes a return from the fibre.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;
use std::sync::OnceLock;

use corosensei::trap::{CoroutineTrapHandler, TrapHandlerRegs};

/// A signal that a kernel caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trapped {
    pub signal: c_int,
    /// What it tried to access.
    pub address: usize,
    /// The instruction.
    pub pc: usize,
}

const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];
/// Enough for our handler, which does nearly nothing, and for Rust's, to which it may pass on.
const SIGNAL_STACK: usize = 64 * 1024;

/// The fibre that runs, or ran last.
static RUNNING: Running = Running(UnsafeCell::new(None));

struct Running(UnsafeCell<Option<CoroutineTrapHandler<Trapped>>>);
// SAFETY: written under the driver's lock, before the fibre runs. The signal handler reads it on
// any thread; on one that is not running that fibre it may see nonsense, but its stack pointer
// is in no fibre's stack, so it makes no use of it.
unsafe impl Sync for Running {}

static PREVIOUS: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();

/// From now on, signals on `handler`'s stack make that fibre return.
pub fn catch(handler: CoroutineTrapHandler<Trapped>) {
    // SAFETY: see `Running`.
    unsafe { *RUNNING.0.get() = Some(handler) };
}

/// Installs the handlers, once.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: sigaction is plain data; the handler has the signature SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            let mut previous: [libc::sigaction; SIGNALS.len()] = std::mem::zeroed();
            for (signal, old) in SIGNALS.iter().zip(&mut previous) {
                libc::sigaction(*signal, ptr::null(), old);
            }
            // Before our handler can be called.
            _ = PREVIOUS.set(previous);
            for signal in SIGNALS {
                libc::sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
    });
}

/// Gives this thread a stack for signals if it has none: a kernel may have used up its own.
pub fn prepare_thread() {
    thread_local! {
        static PREPARED: Cell<bool> = const { Cell::new(false) };
    }
    if PREPARED.replace(true) {
        return;
    }
    // SAFETY: stack_t is plain data. The stack is leaked, so it outlives the thread.
    unsafe {
        let mut old: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(ptr::null(), &raw mut old);
        if old.ss_flags & libc::SS_DISABLE != 0 {
            let stack = Box::leak(Box::<[MaybeUninit<u8>]>::new_uninit_slice(SIGNAL_STACK));
            let new = libc::stack_t {
                ss_sp: stack.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: SIGNAL_STACK,
            };
            libc::sigaltstack(&raw const new, ptr::null_mut());
        }
    }
}

unsafe extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a ucontext_t and a siginfo_t to a SA_SIGINFO handler.
    let (registers, address) = unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        (&mut context.uc_mcontext.gregs, (*info).si_addr() as usize)
    };
    let sp = registers[libc::REG_RSP as usize] as usize;
    let pc = registers[libc::REG_RIP as usize] as usize;
    // SAFETY: see `Running`.
    let running = unsafe { *RUNNING.0.get() }.filter(|fibre| fibre.stack_ptr_in_bounds(sp));
    let Some(fibre) = running else { return pass_on(signal, info, context) };
    let trapped = Trapped { signal, address, pc };
    // SAFETY: the stack pointer is within the fibre, checked above, and the registers are updated
    // as asked. What the fibre changes outside itself is device memory, which is forfeit after a
    // fault, and cells of `Run`, each written in one go.
    let TrapHandlerRegs { rip, rsp, rbp, rdi, rsi } =
        unsafe { fibre.setup_trap_handler(move || trapped) };
    registers[libc::REG_RIP as usize] = rip as i64;
    registers[libc::REG_RSP as usize] = rsp as i64;
    registers[libc::REG_RBP as usize] = rbp as i64;
    registers[libc::REG_RDI as usize] = rdi as i64;
    registers[libc::REG_RSI as usize] = rsi as i64;
}

/// Does what would have happened without us.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let at = SIGNALS.iter().position(|&s| s == signal);
    let previous = at.and_then(|at| PREVIOUS.get().map(|all| all[at]));
    // SAFETY: a previous handler is called as the system would have called it; without one, the
    // default action is restored and the instruction, run again, triggers it.
    unsafe {
        match previous {
            Some(p) if p.sa_sigaction != libc::SIG_DFL && p.sa_sigaction != libc::SIG_IGN => {
                if p.sa_flags & libc::SA_SIGINFO != 0 {
                    type Action = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
                    std::mem::transmute::<usize, Action>(p.sa_sigaction)(signal, info, context);
                } else {
                    type Handler = unsafe extern "C" fn(c_int);
                    std::mem::transmute::<usize, Handler>(p.sa_sigaction)(signal);
                }
            }
            _ => {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}
