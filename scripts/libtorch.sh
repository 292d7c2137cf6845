#!/usr/bin/env bash
# Puts libtorch (CPU) together once, out of pip packages, and prints its folder.
#
# LIBTORCH, when set, is used as it is. Otherwise the folder is made under
# ${XDG_CACHE_HOME:-$HOME/.cache}/tailwater and reused by later runs. Only the CPU libraries
# are kept: with libtorch_cuda.so beside them, linking would ask for CUDA.
set -euo pipefail

version=2.13.0
cuda=13.0

if [ -n "${LIBTORCH:-}" ]; then
  [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] || {
    echo "LIBTORCH=$LIBTORCH has no lib/libtorch_cpu.so: point it at an unpacked libtorch $version, or unset it" >&2
    exit 1
  }
  echo "$LIBTORCH"
  exit 0
fi

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tailwater"
home="$cache/libtorch-$version"
if [ -e "$home/build-version" ]; then
  echo "$home"
  exit 0
fi

mkdir -p "$cache"
exec 9>"$cache/libtorch.lock"
flock 9 # two builds started together: the second waits, then finds the folder
if [ -e "$home/build-version" ]; then
  echo "$home"
  exit 0
fi

work=$(mktemp -d "$cache/libtorch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching libtorch $version (about 540 MB, once) …" >&2
# torch wheels exist for each Python version but hold the same libraries: pip picks the machine's.
python3 -m pip download --quiet --no-deps --dest "$work/wheels" \
  "torch==$version" "nvidia-cuda-runtime==$cuda.*" "nvidia-cuda-cupti==$cuda.*" >&2
echo "unpacking libtorch …" >&2
python3 - "$work" <<'PY'
import pathlib, re, shutil, subprocess, sys, zipfile

work = pathlib.Path(sys.argv[1])
out = work / "libtorch"
archives = [zipfile.ZipFile(wheel) for wheel in (work / "wheels").glob("*.whl")]
entries = [(archive, name) for archive in archives for name in archive.namelist() if not name.endswith("/")]
libraries = {name.rsplit("/", 1)[-1]: (archive, name) for archive, name in entries if ".so" in name}


def extract(archive, name, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)


for archive, name in entries:
    licence = re.fullmatch(r"(\w+)-[^/]*\.dist-info/licenses/(.*)", name)
    if name.startswith("torch/include/"):
        extract(archive, name, out / name[len("torch/"):])
    elif licence:  # they go with the libraries to whoever gets these
        extract(archive, name, out / "licenses" / licence[1] / licence[2])

# What the CPU's library needs differs between machines (on ARM it has its BLAS beside it), so it is asked.
system = re.compile(r"(lib(c|m|dl|rt|util|pthread|gcc_s|stdc\+\+)|ld-linux.*)\.so\.\d+")
wanted, missing = ["libtorch_cpu.so"], []
for library in wanted:
    if library not in libraries:
        missing.append(library)
        continue
    target = out / "lib" / library
    extract(*libraries[library], target)
    dynamic = subprocess.run(["readelf", "-d", target], check=True, capture_output=True, text=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    wanted += [n for n in needed if n not in wanted and not system.fullmatch(n)]
if missing:
    sys.exit(f"the packages lack {sorted(missing)}")
PY
(
  cd "$work/libtorch/lib"
  ln -s libgomp.so.1 libgomp.so
  # tch links `libtorch.so`, which the packages hold only in its CUDA form: a stub that needs the CPU libraries.
  gcc -shared -o libtorch.so -Wl,--no-as-needed -L. -ltorch_cpu -lc10 -Wl,-rpath,'$ORIGIN'
)
echo "$version" >"$work/libtorch/build-version"
rm -rf "$home"
mv "$work/libtorch" "$home"
echo "$home"
