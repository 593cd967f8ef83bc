"""What the machine is, and where its CUDA libraries are."""
from __future__ import annotations

import glob
import json
import os
import platform
import shutil
import sys

# Names by which the engine looks for NVRTC, as in `signet devices`.
NVRTC_NAMES = ("libnvrtc.so.13", "libnvrtc.so.12")
# Where containers and Windows put the driver without telling the dynamic linker.
DRIVER_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib", "/run/opengl-driver/lib")
SMI_FIELDS = (
    "name driver_version compute_cap memory.total power.limit persistence_mode "
    "clocks.max.sm clocks.max.mem clocks.sm clocks.mem temperature.gpu utilization.gpu"
).split()
CLOCK_FIELDS = "clocks.sm clocks.mem temperature.gpu power.draw utilization.gpu".split()


def smi(commands, fields):
    """What `nvidia-smi` says of the first GPU, or None. It is asked only, never told."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return None
    query = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    done = commands.run(query, 20)
    values = [value.strip() for value in done.output.strip().split(",")]
    return dict(zip(fields, values)) if done.ok and len(values) == len(fields) else None


def clocks(commands):
    """The clocks at this moment."""
    return smi(commands, CLOCK_FIELDS)


def cpu():
    """The CPU's name and how many of its threads this process may use."""
    name = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"name": name, "threads": len(os.sched_getaffinity(0))}


def pythons(chosen):
    """Pythons that may have NVIDIA's or PyTorch's packages."""
    roots = [os.environ.get(variable) for variable in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    found = [chosen, sys.executable, *(root and os.path.join(root, "bin", "python3") for root in roots)]
    found += [shutil.which(name) for name in ("python3", "python")]
    return list(dict.fromkeys(path for path in found if path and os.path.exists(path)))


def package_folders(commands, chosen):
    """The site-packages of those Pythons."""
    code = "import site, sys; print('\\n'.join(sys.path + site.getsitepackages() + [site.getusersitepackages()]))"
    folders = []
    for python in pythons(chosen):
        folders += commands.run([python, "-c", code], 20).output.splitlines()
    return list(dict.fromkeys(folder for folder in folders if folder and os.path.isdir(folder)))


def toolkit_folders(*names):
    """These folders of every CUDA toolkit, the newest first; a name may be a pattern."""
    roots = [os.environ.get(variable) for variable in ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT")]
    roots = [root for root in roots if root]
    roots += sorted(glob.glob("/usr/local/cuda*") + glob.glob("/opt/cuda*"), reverse=True)
    return [folder for root in roots for name in names for folder in sorted(glob.glob(os.path.join(root, name)), reverse=True)]


def nvrtc_folders(commands, chosen_python):
    """Folders with a file of one of NVRTC's names: the toolkit's, then Python packages'."""
    libraries = ("lib64", "lib", "targets/x86_64-linux/lib")
    folders = toolkit_folders(*libraries)
    if os.environ.get("CONDA_PREFIX"):
        folders += [os.path.join(os.environ["CONDA_PREFIX"], library) for library in libraries]
    for packages in package_folders(commands, chosen_python):
        folders += sorted(glob.glob(os.path.join(packages, "nvidia", "*", "lib")), reverse=True)
        folders.append(os.path.join(packages, "torch", "lib"))
    real = dict.fromkeys(os.path.realpath(folder) for folder in folders if has_file(folder, NVRTC_NAMES))
    return list(real)


def has_file(folder, names):
    return any(os.path.isfile(os.path.join(folder, name)) for name in names)


def search_path(folders):
    """An LD_LIBRARY_PATH: these folders, then what it is now."""
    now = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path]
    return ":".join([*folders, *now])


def devices(commands, signet, environment, folders):
    """What `signet devices` sees with these folders on the search path."""
    environment = dict(environment, LD_LIBRARY_PATH=search_path(folders))
    done = commands.run([signet, "devices", "--json"], 60, environment)
    if not done.ok:
        return {"no_gpu": f"`signet devices` does not run: {done.why()}", "gpus": []}
    return json.loads(done.output)


def find(commands, signet, environment, nvrtc, python):
    """The report of `signet devices`, and the folders that LD_LIBRARY_PATH needs for it.

    What the system finds by itself is taken as it is; NVRTC is searched for only where it is
    missing, or where the user names its folder.
    """
    folders = [nvrtc] if nvrtc else []
    report = devices(commands, signet, environment, folders)
    if missing(report, "driver"):
        there = [folder for folder in DRIVER_FOLDERS if has_file(folder, ["libcuda.so.1"])]
        if there:
            folders += there[:1]
            report = devices(commands, signet, environment, folders)
    if missing(report, "nvrtc") and not missing(report, "driver") and not nvrtc:
        candidates = [[folder, *folders] for folder in nvrtc_folders(commands, python)[:8]]
        answers = [(devices(commands, signet, environment, some), some) for some in candidates]
        usable = [one for one in answers if not missing(one[0], "nvrtc")]
        if usable:
            report, folders = max(usable, key=lambda one: preference(one[0]))
        elif answers:
            # What is wrong with the first says more than that there is none.
            report, folders = answers[0]
    return report, folders


def missing(report, part):
    return "error" in report.get(part, {"error": ""})


def preference(report):
    """The newest NVRTC that is no newer than the driver, then the newest."""
    nvrtc = [int(number) for number in report["nvrtc"]["version"].split(".")]
    driver = [int(number) for number in report["driver"]["cuda"].split(".")]
    return (nvrtc[0] <= driver[0], nvrtc)
