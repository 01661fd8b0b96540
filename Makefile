# A thin front for meson and ninja.
#
#   make            build; programs in build/bin, the familiar names in build/compat
#   make run        build, make a Debian guest (once), boot it in this terminal
#   make check      build and run the quick tests, then those of devices, CPU, disks and one Linux boot once more
#                   under ASan and UBSan (in build-asan); ends with "N passed, N failed" over both
#   make check-long the slow ones: nested KVM, soak, many boots (docs/results.md has the last results)
#   make bench      ratios against Debian's QEMU and native
#   make format     clang-format on everything
# MODE=asan|ubsan|tsan builds and tests with that sanitizer, in build-MODE.
MODE ?= release
B := build$(if $(filter-out release,$(MODE)),-$(MODE))

ifeq ($(filter $(MODE),release asan ubsan tsan),)
$(error MODE=$(MODE): there is no such mode; MODE is release, asan, ubsan or tsan)
endif

MESON_asan := -Db_sanitize=address,undefined
MESON_ubsan := -Db_sanitize=undefined
MESON_tsan := -Db_sanitize=thread
export TSAN_OPTIONS ?= suppressions=$(CURDIR)/tests/tsan.supp

all: $(B)/build.ninja
	@ninja -C $(B)
	@tools/links $(B)

build/build.ninja:
	@tools/deps build
	@meson setup build

build-%/build.ninja:
	@tools/deps build
	@meson setup build-$* $(MESON_$*)

run: all
	@tools/deps guest
	@tools/run $(B)

SANITIZED := --suite unit --suite payload --suite peer --suite smoke

check: $(B)/build.ninja $(if $(filter release,$(MODE)),build-asan/build.ninja)
	@tools/deps build test guest
	@ninja -C $(B)
	@tools/links $(B)
ifeq ($(MODE),release)
	@mkdir -p build/guest && { test -e build-asan/guest || ln -s ../build/guest build-asan/guest; } # one kernel for both
	@tools/check build --no-suite long -- build-asan $(SANITIZED)
else
	@tools/check $(B) $(SANITIZED)
endif

check-long: all $(if $(filter release,$(MODE)),build-asan/build.ninja)
	@tools/deps build test long guest installer
	@tools/check $(B) --suite long $(if $(filter release,$(MODE)),-- build-asan --suite crypt)

bench: all
	@tools/deps build test guest
	@bench/run $(B)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-asan build-ubsan build-tsan

.PHONY: all run check check-long bench format clean
