package qemutest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// Variant is a way to make an image.
type Variant struct {
	Options string   // of -o
	Flags   []string // of qemu-img convert
	// Coarser: qemu-img knows holes that the reader cannot, of another file.
	Coarser bool
}

// Options makes a variant of each set of options.
func Options(sets ...string) (list []Variant) {
	for _, s := range sets {
		list = append(list, Variant{Options: s})
	}
	return list
}

// Cross joins every set of options of one list with every one of the others.
func Cross(lists ...[]string) []string {
	sets := []string{""}
	for _, list := range lists {
		var next []string
		for _, a := range sets {
			for _, b := range list {
				next = append(next, strings.Trim(a+","+b, ","))
			}
		}
		sets = next
	}
	return sets
}

func (v Variant) name() string {
	return strings.NewReplacer("=", "-", ",", "+").Replace(strings.Join(append([]string{v.Options}, v.Flags...), ""))
}

func (v Variant) options() []string {
	if v.Options == "" {
		return nil
	}
	return []string{"-o", v.Options}
}

// Matrix is a format with the disks and the options to try it with.
type Matrix struct {
	Format string
	Map    int
	// Over, in bytes: of larger disks the RAW file that qemu-img made the image of
	// is what it is compared with, where reading it back takes minutes.
	Over int64
	// Open opens the image, for as long as the test runs.
	Open func(t testing.TB, name string) Image

	ran atomic.Int64
}

// Ran is how many combinations of a disk, a way and options passed.
func (m *Matrix) Ran() int64 { return m.ran.Load() }

// Convert makes an image of each disk with each variant and compares it.
func (m *Matrix) Convert(t *testing.T, disks []Disk, variants []Variant) {
	src := t.TempDir()
	for i, d := range disks {
		raw := d.Write(t, src)
		some := shorten(variants, i)
		if !long() && d.Size > GiB {
			some = some[:1] // qemu-img takes seconds for these
		}
		for _, v := range some {
			m.run(t, "convert "+d.Name, v, func(t *testing.T, name string) string {
				args := append([]string{"convert", "-f", "raw", "-O", m.Format}, v.options()...)
				Img(t, filepath.Dir(name), append(append(args, v.Flags...), raw, name)...)
				if m.Over > 0 && d.Size > m.Over {
					return raw
				}
				return ""
			})
		}
	}
}

// Create makes an empty image of each size and compares it, and with write once
// more after qemu-io has written to some places of it.
func (m *Matrix) Create(t *testing.T, sizes []int64, variants []Variant, write bool) {
	for i, size := range sizes {
		for _, v := range shorten(variants, i) {
			create := func(t *testing.T, name string) string {
				args := append([]string{"create", "-q", "-f", m.Format}, v.options()...)
				Img(t, filepath.Dir(name), append(args, name, fmt.Sprint(size))...)
				return ""
			}
			m.run(t, fmt.Sprint("create ", size), v, create)
			if !write {
				continue
			}
			m.run(t, fmt.Sprint("write ", size), v, func(t *testing.T, name string) string {
				create(t, name)
				at := size / 1024 * 512
				IO(t, filepath.Dir(name), m.Format, name, "write -P 1 0 512", "write -z 4096 8192",
					fmt.Sprintf("write -P 2 %d 3k", at), "write -P 3 64k 130k", "discard 64k 64k", "write -z -u 400k 64k")
				return ""
			})
		}
	}
}

// run makes an image and compares it with a RAW file, or with what qemu-img
// converts it to where the name is "".
func (m *Matrix) run(t *testing.T, what string, v Variant, mk func(t *testing.T, name string) (raw string)) {
	t.Run(what+"/"+v.name(), func(t *testing.T) {
		t.Parallel()
		c := Comparison{Dir: t.TempDir(), Spec: []string{"-f", m.Format, "disk"}, Map: m.Map}
		if v.Coarser && c.Map == MapExact {
			c.Map = MapCovers
		}
		name := filepath.Join(c.Dir, "disk")
		if c.Want = mk(t, name); c.Want != "" {
			c.Map = MapNone
		}
		Compare(t, m.Open(t, name), c)
		m.ran.Add(1)
	})
}

// long reports whether FASTIMAGE_LONG asks for all combinations.
func long() bool { return os.Getenv("FASTIMAGE_LONG") != "" }

// shorten leaves out most variants unless FASTIMAGE_LONG is set: of each disk, by
// its number, others.
func shorten(list []Variant, number int) []Variant {
	if long() {
		return list
	}
	const keep = 12
	if len(list) == 0 {
		return nil
	}
	kept := Thin(keep, list[number%min(keep, len(list)):])
	if testing.Short() || raceDetector {
		return kept[:1]
	}
	return kept
}

// Thin keeps every n-th variant.
func Thin(n int, list []Variant) []Variant {
	kept := slices.Clone(list[:0])
	for i := 0; i < len(list); i += n {
		kept = append(kept, list[i])
	}
	return kept
}
