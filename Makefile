# A thin front for meson and ninja. `make help` lists what there is.
MODE ?= release
B := build$(if $(filter-out release,$(MODE)),-$(MODE))

MESON_release :=
MESON_asan := -Db_sanitize=address,undefined
MESON_ubsan := -Db_sanitize=undefined
MESON_tsan := -Db_sanitize=thread

all: $(B)/build.ninja
	@ninja -C $(B)

$(B)/build.ninja:
	@tools/deps build
	@meson setup $(B) $(MESON_$(MODE))

check: $(B)/build.ninja
	@tools/deps build test
	@tools/check $(B)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-asan build-ubsan build-tsan

.PHONY: all check format clean
