package command

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	inspect "github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/zvhd2"
)

// partlyFull writes a RAW disk of n bytes: data that compresses, data that does
// not, and holes. Its size need not be a multiple of anything.
func partlyFull(t testing.TB, name string, n int64) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(n))
	rnd := rand.New(rand.NewPCG(3, uint64(n)))
	part := make([]byte, 200<<10)
	for at := int64(0); at < n; at += max(n/9, 1) {
		shift := rnd.IntN(8)
		for i := range part {
			part[i] = byte(rnd.Uint32()) >> shift
		}
		_, err := f.WriteAt(part[:min(int64(len(part)), n-at)], at)
		require.NoError(t, err)
	}
	_, err = f.WriteAt([]byte{1}, n-1)
	require.NoError(t, err)
}

// formatCases are the images that qemu-img makes, each format and subformat.
var formatCases = []struct {
	name, format string
	args         string // of qemu-img convert
}{
	{"raw", "raw", "-O raw"},
	{"qcow2", "qcow2", "-O qcow2"},
	{"qcow2 v2", "qcow2", "-O qcow2 -o compat=0.10"},
	{"qcow2 zlib", "qcow2", "-c -O qcow2"},
	{"qcow2 zstd", "qcow2", "-c -O qcow2 -o compression_type=zstd"},
	{"qcow2 small clusters", "qcow2", "-c -O qcow2 -o cluster_size=512"},
	{"qcow2 large clusters", "qcow2", "-c -O qcow2 -o cluster_size=2M"},
	{"qcow2 extended", "qcow2", "-O qcow2 -o extended_l2=on,cluster_size=128k"},
	{"qcow2 lazy", "qcow2", "-O qcow2 -o lazy_refcounts=on"},
	{"qcow2 metadata", "qcow2", "-O qcow2 -o preallocation=metadata"},
	{"vmdk sparse", "vmdk", "-O vmdk"},
	{"vmdk stream", "vmdk", "-O vmdk -o subformat=streamOptimized"},
	{"vmdk flat", "vmdk", "-O vmdk -o subformat=monolithicFlat"},
	{"vmdk split sparse", "vmdk", "-O vmdk -o subformat=twoGbMaxExtentSparse"},
	{"vmdk split flat", "vmdk", "-O vmdk -o subformat=twoGbMaxExtentFlat"},
	{"vhd dynamic", "vhd", "-O vpc"},
	{"vhd fixed", "vhd", "-O vpc -o subformat=fixed"},
	{"vhd size", "vhd", "-O vpc -o force_size=on"},
	{"vhdx", "vhdx", "-O vhdx"},
	{"vhdx fixed", "vhdx", "-O vhdx -o subformat=fixed"},
	{"vhdx blocks", "vhdx", "-O vhdx -o block_size=2M"},
	{"vdi", "vdi", "-O vdi"},
	{"vdi static", "vdi", "-O vdi -o static=on"},
}

// TestConvertFormats converts what qemu-img makes to ZVHD2 and to RAW: both are
// what qemu-img convert -O raw makes of the same file.
func TestConvertFormats(t *testing.T) {
	t.Parallel()
	combinations := 0
	// More sizes, options and disks are in the tests of the formats.
	for _, n := range []int64{5<<20 + 77, 34 << 20} {
		parent := t.TempDir()
		partlyFull(t, filepath.Join(parent, "source"), n)
		for _, c := range formatCases {
			if n == 34<<20 && strings.Contains(c.name, " ") {
				continue // one of each format will do
			}
			t.Run(fmt.Sprintf("%s/%d", c.name, n), func(t *testing.T) {
				dir := t.TempDir() // the extents of a VMDK have names of their own
				args := strings.Fields(c.args)
				qemutest.Tool(t, dir, "qemu-img", append([]string{"convert", "-f", "raw", filepath.Join(parent, "source"), "image.bin"}, args...)...)
				qemuName := args[slices.Index(args, "-O")+1]
				qemutest.Tool(t, dir, "qemu-img", "convert", "-f", qemuName, "-O", "raw", "image.bin", "want")
				requireConverts(t, filepath.Join(dir, "image.bin"), c.format, filepath.Join(dir, "want"))
				combinations++
			})
		}
	}
	t.Logf("%d combinations", combinations)
}

// requireConverts wants image to be of format, and convert to make the disk in the
// file want of it, as ZVHD2 and as RAW.
func requireConverts(t *testing.T, image, format, want string, flags ...string) {
	t.Helper()
	out := t.TempDir()
	container, raw := filepath.Join(out, "disk.zvhd2"), filepath.Join(out, "disk.raw")
	r := fastimage(t, nil, append([]string{"convert", "--json", "--level", "fastest", image, container}, flags...)...)
	require.Zero(t, r.code, r.stderr)
	var res converted
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &res))
	st, err := os.Stat(want)
	require.NoError(t, err)
	sectors := (st.Size() + 511) / 512 * 512
	require.Equal(t, format, res.SourceFormat)
	require.Equal(t, "zvhd2", res.Format)
	require.Equal(t, sectors, res.DiskSize)
	require.Contains(t, r.stderr, "zvhd2 from "+format)

	zr, err := zvhd2.Open(container)
	require.NoError(t, err)
	defer zr.Close()
	require.Equal(t, sectors, zr.Size())
	requireSame(t, want, io.NewSectionReader(zr, 0, st.Size()))

	r = fastimage(t, nil, append([]string{"convert", "-q", image, raw}, flags...)...)
	require.Zero(t, r.code, r.stderr)
	f, err := os.Open(raw)
	require.NoError(t, err)
	defer f.Close()
	requireSame(t, want, f)
}

// Whatever is read can be written as QCOW2, which qemu-img finds equal.
func TestConvertToQCOW2(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	container := filepath.Join(dir, "disk.zvhd2")
	require.Zero(t, fastimage(t, nil, "convert", "-q", disk, container).code)
	packed := compressions["gzip"](t, copyOf(t, disk))
	for i, args := range [][]string{{disk}, {container}, {packed}, {"--compression", "zlib", disk}, {"--compression", "zstd", container}} {
		out := filepath.Join(dir, fmt.Sprintf("out%d.qcow2", i))
		r := fastimage(t, nil, slices.Concat([]string{"convert"}, args, []string{out})...)
		require.Zero(t, r.code, r.stderr)
		qemutest.Tool(t, dir, "qemu-img", "check", "-f", "qcow2", out)
		back := filepath.Join(dir, fmt.Sprintf("back%d.raw", i))
		require.Zero(t, fastimage(t, nil, "convert", "-q", out, back).code)
		f, err := os.Open(back)
		require.NoError(t, err)
		requireSame(t, disk, io.LimitReader(f, 64<<20))
		require.NoError(t, f.Close())
	}
	requireError(t, fastimage(t, nil, "convert", "--to", "qcow2", disk, "-"), exitUsage, "standard output")
	requireError(t, fastimage(t, nil, "convert", disk, filepath.Join(dir, "disk.foo")), exitUsage, ".foo", "--to")
}

func copyOf(t *testing.T, name string) string {
	t.Helper()
	_, paths := copies(t, filepath.Base(name))
	return paths[0]
}

func requireSame(t *testing.T, want string, got io.Reader) {
	t.Helper()
	w, err := os.ReadFile(want)
	require.NoError(t, err)
	g, err := io.ReadAll(got)
	require.NoError(t, err)
	require.Equal(t, len(w), len(g))
	require.True(t, bytes.Equal(w, g))
}

func TestConvertOVA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	partlyFull(t, filepath.Join(dir, "want"), 9<<20)
	qemutest.Tool(t, dir, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "want", "disk.vmdk")
	ova := func(name string, members ...string) string {
		vmdk, err := os.ReadFile(filepath.Join(dir, "disk.vmdk"))
		require.NoError(t, err)
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		defer f.Close()
		w := tar.NewWriter(f)
		for _, m := range members {
			data := vmdk
			if filepath.Ext(m) != ".vmdk" {
				data = []byte("<Envelope/>")
			}
			require.NoError(t, w.WriteHeader(&tar.Header{Name: m, Mode: 0o644, Size: int64(len(data))}))
			_, err = w.Write(data)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return f.Name()
	}
	want := filepath.Join(dir, "want")
	requireConverts(t, ova("one.ova", "vm.ovf", "vm-disk1.vmdk"), "ova", want)
	two := ova("two.ova", "vm.ovf", "a.vmdk", "b.vmdk")
	requireConverts(t, two, "ova", want, "--member", "b.vmdk")
	out := filepath.Join(t.TempDir(), "out.zvhd2")
	requireError(t, fastimage(t, nil, "convert", two, out), exitFailed, "a.vmdk", "b.vmdk", "--member")
	requireError(t, fastimage(t, nil, "convert", ova("none.ova", "vm.ovf"), out), exitFailed, "vm.ovf")
	requireNothing(t, out)
}

// requireNothing wants the directory of an output to be empty.
func requireNothing(t *testing.T, out string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// compressions of a file, which they leave where it is.
var compressions = map[string]func(t *testing.T, file string) string{
	"gzip": func(t *testing.T, file string) string {
		return packed(t, file, ".gz", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	},
	"xz": func(t *testing.T, file string) string {
		qemutest.Tool(t, filepath.Dir(file), "xz", "-1", "--keep", "--force", file)
		return file + ".xz"
	},
	"zstd": func(t *testing.T, file string) string {
		return packed(t, file, ".zst", func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			require.NoError(t, err)
			return z
		})
	},
}

func packed(t *testing.T, file, ext string, pack func(io.Writer) io.WriteCloser) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var out bytes.Buffer
	// Two members, or frames.
	for _, part := range [][]byte{data[:len(data)/3], data[len(data)/3:]} {
		w := pack(&out)
		_, err = w.Write(part)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	require.NoError(t, os.WriteFile(file+ext, out.Bytes(), 0o600))
	return file + ext
}

func TestConvertCompressed(t *testing.T) {
	t.Parallel()
	for format, pack := range compressions {
		t.Run(format, func(t *testing.T) {
			want := filepath.Join(t.TempDir(), "disk.raw")
			const n = 7<<20 + 99
			partlyFull(t, want, n)
			file := pack(t, want)
			requireConverts(t, file, format, want)
			requireConverts(t, file, format, want, "--size", fmt.Sprint(n, "B"))

			out := filepath.Join(t.TempDir(), "out.zvhd2")
			bad := func(b []byte) string {
				name := filepath.Join(t.TempDir(), "bad")
				require.NoError(t, os.WriteFile(name, b, 0o600))
				return name
			}
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, name := range []string{bad(data[:len(data)-9]), bad(append(bytes.Clone(data), "more of it"...))} {
				requireError(t, fastimage(t, nil, "convert", name, out), exitFailed, format, "download")
				requireError(t, fastimage(t, nil, "convert", "--size", fmt.Sprint(n, "B"), name, out), exitFailed, format, "download")
			}
			requireError(t, fastimage(t, nil, "convert", "--size", "4MiB", file, out), exitFailed, "more than", "--size")
			requireError(t, fastimage(t, nil, "convert", "--size", "8MiB", file, out), exitFailed, fmt.Sprint(n), "--size")
			requireError(t, fastimage(t, nil, "convert", "--size", "0", file, out), exitUsage, "--size")
			requireNothing(t, out)
		})
	}
}

// A qcow2 in a compressed file is read, not taken for RAW; one that is RAW by the
// user's word is taken.
func TestConvertCompressedForeign(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	image := filepath.Join(dir, "disk.qcow2")
	raw := filepath.Join(dir, "disk.raw")
	partlyFull(t, raw, 3<<20)
	qemutest.Tool(t, dir, "qemu-img", "convert", "-O", "qcow2", raw, image)
	out := filepath.Join(t.TempDir(), "out.zvhd2")
	for _, pack := range compressions {
		file := pack(t, image)
		requireConverts(t, file, "qcow2", raw)
	}
	gz := compressions["gzip"](t, image)
	requireConverts(t, gz, "raw", gz, "--source-format", "raw") // the file itself, as with qemu-img -f raw
	requireConverts(t, image, "raw", image, "--source-format", "raw")
	requireError(t, fastimage(t, nil, "convert", "--source-format", "vpx", image, out), exitUsage, "--source-format")
	requireError(t, fastimage(t, nil, "convert", "--source-format", "vdi", image, out), exitFailed, "vdi")
}

func TestConvertReferences(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	partlyFull(t, filepath.Join(dir, "base.raw"), 3<<20)
	qemutest.Tool(t, dir, "qemu-img", "create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "middle.qcow2")
	qemutest.Tool(t, dir, "qemu-img", "create", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", "top.qcow2")
	top := filepath.Join(dir, "top.qcow2")
	requireConverts(t, top, "qcow2", filepath.Join(dir, "base.raw"), "--references", dir)
	out := filepath.Join(t.TempDir(), "out.zvhd2")
	requireError(t, fastimage(t, nil, "convert", top, out), exitFailed, "middle.qcow2", "--references")
	requireError(t, fastimage(t, nil, "convert", "--references", elsewhere, top, out), exitFailed, "middle.qcow2", "--references")
	qemutest.Tool(t, dir, "qemu-img", "create", "-f", "qcow2", "-u", "-b", "../passwd", "-F", "raw", "climbs.qcow2", "1M")
	requireError(t, fastimage(t, nil, "convert", "--references", dir, filepath.Join(dir, "climbs.qcow2"), out), exitFailed, "../passwd", "--references")
	requireNothing(t, out)
}

func TestConvertRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(t.TempDir(), "out.zvhd2")
	for _, format := range []string{"qed", "qcow"} {
		name := filepath.Join(dir, "disk."+format)
		qemutest.Tool(t, dir, "qemu-img", "create", "-f", format, name, "1M")
		requireError(t, fastimage(t, nil, "convert", name, out), exitFailed, "qemu-img convert -f "+format+" -O raw "+name)
	}
	name := filepath.Join(dir, "disk.7z")
	require.NoError(t, os.WriteFile(name, []byte("7z\xbc\xaf\x27\x1c and so on"), 0o600))
	requireError(t, fastimage(t, nil, "convert", name, out), exitFailed, "7z x "+name)
	for _, to := range []string{"disk.vhd", "disk.vmdk", "disk.raw.gz"} {
		requireError(t, fastimage(t, nil, "convert", disk, filepath.Join(filepath.Dir(out), to)), exitUsage, "--to")
	}
	requireError(t, fastimage(t, nil, "convert", "--to", "vdi", disk, out), exitUsage, "--to")
	requireError(t, fastimage(t, nil, "convert", "--json", disk, "-"), exitUsage, "--json")
	requireNothing(t, out)
}

// A source that is written to while it is converted is an error, whichever of its
// files it is.
func TestConvertChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, args, touched string }{
		{"qcow2", "-O qcow2", "image.img"},
		{"extent", "-O vmdk -o subformat=monolithicFlat", "image-flat.img"},
		{"gzip", "", "image.img"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, src := t.TempDir(), slow(t, 4<<20)
			image := filepath.Join(dir, "image.img")
			if c.args == "" {
				require.NoError(t, os.Rename(compressions["gzip"](t, src), image))
			} else {
				qemutest.Tool(t, dir, "qemu-img", append([]string{"convert", "-f", "raw", src, image}, strings.Fields(c.args)...)...)
			}
			out := filepath.Join(t.TempDir(), "out.zvhd2")
			touch := func() { _ = os.Chtimes(filepath.Join(dir, c.touched), time.Time{}, time.Now().Add(time.Hour)) }
			r := during(t.Context(), t, nil, "convert: ", touch, "convert", "--size", "4MiB", "--level", "best", image, out)
			requireError(t, r, exitFailed, "changed while in use", "start again")
			requireNothing(t, out)
		})
	}
}

// Interrupted while it counts, encodes or copies, convert leaves nothing.
func TestConvertStreamInterrupted(t *testing.T) {
	t.Parallel()
	const n = 64 << 20
	file := compressions["zstd"](t, slow(t, n))
	for name, args := range map[string][]string{
		"zvhd2": {"convert: ", "--level", "best", "--size", fmt.Sprint(n, "B"), file, "out.zvhd2"},
		"raw":   {"convert: ", "--size", fmt.Sprint(n, "B"), file, "out.raw"},
		"count": {"count: ", file, "out.zvhd2"},
	} {
		t.Run(name, func(t *testing.T) {
			args[len(args)-1] = filepath.Join(t.TempDir(), args[len(args)-1])
			r := interrupted(t, nil, args[0], append([]string{"convert"}, args[1:]...)...)
			requireError(t, r, exitInterrupted, "interrupted")
			requireNothing(t, args[len(args)-1])
		})
	}
}

// info and bitmap say of an image what they say of the RAW disk in it.
func TestInfoAndBitmapOfFormats(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	raw := filepath.Join(dir, "disk.raw")
	data, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(raw, data, 0o600))
	report := func(name string) (in info) {
		r := fastimage(t, nil, "info", "--json", name)
		require.Zero(t, r.code, r.stderr)
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &in))
		return in
	}
	bits := func(name string) []byte {
		out := filepath.Join(t.TempDir(), "disk.mf")
		r := fastimage(t, nil, "bitmap", "-q", name, out)
		require.Zero(t, r.code, r.stderr)
		b, err := os.ReadFile(out)
		require.NoError(t, err)
		return b
	}
	want, wantBits := report(raw), bits(raw)
	require.NotEmpty(t, want.Disk.Partitions)
	check := func(name, format string) info {
		got := report(name)
		require.Equal(t, format, got.Format)
		require.Equal(t, want.Disk, got.Disk)
		require.Equal(t, want.VirtualSize, got.VirtualSize)
		require.Equal(t, want.StoredBlocks, got.StoredBlocks)
		require.Equal(t, wantBits, bits(name))
		r := fastimage(t, nil, "info", name)
		require.Zero(t, r.code, r.stderr)
		require.Contains(t, r.stdout, "map           ")
		require.Contains(t, r.stdout, "table         gpt")
		require.Contains(t, r.stdout, "format        "+format)
		return got
	}
	for format, args := range map[string]string{
		"qcow2": "-c -O qcow2", "vmdk": "-O vmdk", "vhd": "-O vpc -o force_size=on", "vhdx": "-O vhdx", "vdi": "-O vdi",
	} {
		image := filepath.Join(dir, format+".bin")
		qemutest.Tool(t, dir, "qemu-img", append([]string{"convert", "-f", "raw", raw, image}, strings.Fields(args)...)...)
		got := check(image, format)
		require.NotEmpty(t, got.Facts, format)
		require.Positive(t, *got.Allocated)
		st, err := os.Stat(image)
		require.NoError(t, err)
		require.Equal(t, st.Size(), got.FileSize)
	}
	for format, pack := range compressions {
		require.Equal(t, format, check(pack(t, raw), format).Compression)
	}

	qemutest.Tool(t, dir, "qemu-img", "snapshot", "-c", "before", "qcow2.bin")
	r := fastimage(t, nil, "info", filepath.Join(dir, "qcow2.bin"))
	require.Contains(t, r.stdout, "warning       the image has 1 internal snapshots")
	r = fastimage(t, nil, "convert", filepath.Join(dir, "qcow2.bin"), filepath.Join(dir, "out.zvhd2"))
	require.Zero(t, r.code)
	require.Contains(t, r.stderr, "warning: the image has 1 internal snapshots")
	r = fastimage(t, nil, "verify", "--against", filepath.Join(dir, "vdi.bin"), filepath.Join(dir, "out.zvhd2"))
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, inspect.TableGPT, want.Disk.Table)
}

// A RAW disk in a compressed file that its own table says is cut short.
func TestCompressedTruncated(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(disk)
	require.NoError(t, err)
	cut := filepath.Join(t.TempDir(), "cut.raw")
	require.NoError(t, os.WriteFile(cut, data[:len(data)/2], 0o600))
	out := filepath.Join(t.TempDir(), "out.zvhd2")
	file := compressions["gzip"](t, cut)
	for _, args := range [][]string{{"convert", file, out}, {"info", file}, {"bitmap", file, out}} {
		requireError(t, fastimage(t, nil, args...), exitFailed, file, "truncated")
	}
	requireNothing(t, out)
}
