package command

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	inspect "github.com/fastimage/fastimage/rawimage/disk"

	"github.com/fastimage/fastimage/zvhd2"
)

func TestConvert(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "disk.zvhd2")
	r := fastimage(t, nil, "convert", disk, out)
	require.Zero(t, r.code, r.stderr)
	require.Empty(t, r.stdout)
	requireSameDisk(t, out)
	requireAlone(t, out)

	t.Run("back to RAW", func(t *testing.T) {
		want, err := os.ReadFile(disk)
		require.NoError(t, err)
		raw := filepath.Join(t.TempDir(), "back.raw")
		r := fastimage(t, nil, "convert", out, raw)
		require.Zero(t, r.code, r.stderr)
		got, err := os.ReadFile(raw)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		requireAlone(t, raw)
		r = fastimage(t, nil, "convert", "-q", out, "-")
		require.Zero(t, r.code, r.stderr)
		require.True(t, string(want) == r.stdout)
		requireError(t, fastimage(t, nil, "convert", out, filepath.Join(t.TempDir(), "again.zvhd2")), exitUsage, "already")
	})
	t.Run("existing", func(t *testing.T) {
		before, err := os.ReadFile(out)
		require.NoError(t, err)
		requireError(t, fastimage(t, nil, "convert", disk, out), exitFailed, "-f")
		after, err := os.ReadFile(out)
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after))
		require.Zero(t, fastimage(t, nil, "convert", "-f", disk, out).code)
		requireSameDisk(t, out)
		requireAlone(t, out)
	})
	t.Run("onto the source", func(t *testing.T) {
		src := sparse(t, "src.raw", 8<<20)
		requireError(t, fastimage(t, nil, "convert", "-f", src, src), exitFailed, "is the source")
		st, err := os.Stat(src)
		require.NoError(t, err)
		require.EqualValues(t, 8<<20, st.Size())
	})
	t.Run("through a link", func(t *testing.T) {
		dir := t.TempDir()
		link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Symlink("file", link))
		require.Zero(t, fastimage(t, nil, "convert", "-f", "--to", "zvhd2", disk, link).code)
		requireSameDisk(t, file)
	})
	t.Run("into a directory", func(t *testing.T) {
		requireError(t, fastimage(t, nil, "convert", "-f", disk, t.TempDir()), exitFailed, "is a directory")
		requireError(t, fastimage(t, nil, "convert", disk, filepath.Join(t.TempDir(), "no", "such.raw")), exitFailed, "check the path")
	})
	t.Run("standard output", func(t *testing.T) {
		r := fastimage(t, nil, "convert", "-q", disk, "-")
		require.Zero(t, r.code, r.stderr)
		piped := filepath.Join(t.TempDir(), "piped")
		require.NoError(t, os.WriteFile(piped, []byte(r.stdout), 0o600))
		requireSameDisk(t, piped)
	})
}

// requireSameDisk wants the container to hold the disk, byte for byte.
func requireSameDisk(t *testing.T, container string) {
	t.Helper()
	want, err := os.ReadFile(disk)
	require.NoError(t, err)
	r, err := zvhd2.Open(container)
	require.NoError(t, err)
	defer r.Close()
	require.EqualValues(t, len(want), r.Size())
	got := make([]byte, len(want))
	n, err := r.ReadAt(got, 0)
	require.Equal(t, len(want), n, err)
	require.True(t, bytes.Equal(want, got))
}

// requireAlone wants nothing beside the file: no temporary one is left.
func requireAlone(t *testing.T, name string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestConvertFullDisk(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/full")
	}
	requireError(t, fastimage(t, nil, "convert", "-q", "-f", "--to", "zvhd2", disk, "/dev/full"), exitFailed, "no space left", "free some space")
	requireError(t, fastimage(t, nil, "bitmap", "-q", "-f", disk, "/dev/full"), exitFailed, "no space left", "free some space")

	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	for _, args := range [][]string{{"convert", "-q", disk, "-"}, {"info", "--json", disk}, {"info", disk}} {
		var stderr lockedBuffer
		code := Run(t.Context(), Process{Args: args, Stdin: strings.NewReader(""), Stdout: full, Stderr: &stderr, Getenv: environment(t, nil)})
		requireError(t, result{stderr: stderr.String(), code: code}, exitFailed, "no space left")
	}
}

// TestConvertLimited stops the output at a size, as a full disk would.
func TestConvertLimited(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs ulimit -f")
	}
	src := random(t, 8<<20)
	out := filepath.Join(t.TempDir(), "out.zvhd2")
	inner := command(t, nil, "convert", "-q", src, out)
	cmd := exec.Command("sh", append([]string{"-c", `ulimit -f 1024; trap '' XFSZ; exec "$@"`, "sh"}, inner.Args...)...)
	cmd.Env = inner.Env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	requireError(t, finished(t, cmd.Run(), &stdout, &stderr), exitFailed, "file too large")
	entries, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestConvertInterrupted(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out.zvhd2")
	r := interrupted(t, nil, "convert: ", "convert", "--level", "best", slow(t, 64<<20), out)
	requireError(t, r, exitInterrupted, "interrupted")
	requireNothing(t, out)
}

// slow makes a file of random digits, which level best compresses for many
// seconds: whatever watches the compressor sees it at work.
func slow(t *testing.T, n int) string {
	t.Helper()
	random := mathrand.NewChaCha8([32]byte{1})
	half := make([]byte, n/2)
	_, _ = random.Read(half) // never fails
	path := filepath.Join(t.TempDir(), "slow.raw")
	require.NoError(t, os.WriteFile(path, hex.AppendEncode(make([]byte, 512), half[256:]), 0o600))
	return path
}

// random makes a file that no compressor gets smaller.
func random(t *testing.T, n int) string {
	t.Helper()
	data := make([]byte, n)
	_, err := rand.Read(data)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "random.raw")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestInfo(t *testing.T) {
	t.Parallel()
	fields := []string{"format", "virtual_size", "file_size", "stored_blocks", "blocks", "block_size", "compression", "uuid", "created"}
	st, err := os.Stat(disk)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "disk.zvhd2")
	require.Zero(t, fastimage(t, nil, "convert", "-q", disk, out).code)

	var raw, container info
	r := fastimage(t, nil, "info", "--json", disk)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, append(slices.Clone(fields), "allocated", "disk"), keys(t, r.stdout))
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &raw))
	require.Equal(t, inspect.TableGPT, raw.Disk.Table)
	require.Len(t, raw.Disk.Partitions, 2)
	require.Empty(t, raw.Disk.Problems)
	require.Equal(t, info{Format: "raw", VirtualSize: st.Size(), FileSize: st.Size(), StoredBlocks: raw.StoredBlocks,
		Blocks: st.Size() >> 21, BlockSize: 2 << 20, Compression: "none", Allocated: raw.Allocated, Disk: raw.Disk}, raw)
	require.Positive(t, raw.StoredBlocks)

	r = fastimage(t, nil, "info", "--json", out)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, fields, keys(t, r.stdout))
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &container))
	require.Equal(t, "zvhd2", container.Format)
	require.EqualValues(t, 1<<30, container.VirtualSize)
	require.Equal(t, raw.StoredBlocks, container.StoredBlocks)
	require.Equal(t, raw.Blocks, container.Blocks)
	require.Equal(t, "zstd", container.Compression)
	require.Len(t, *container.UUID, 36)
	require.WithinDuration(t, time.Now(), *container.Created, time.Hour)

	for _, name := range []string{disk, out} {
		r := fastimage(t, nil, "info", name)
		require.Zero(t, r.code, r.stderr)
		require.Contains(t, r.stdout, "virtual size  ")
	}
}

func TestBitmap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := filepath.Join(dir, "disk.raw")
	data, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(src, data, 0o600))
	r := fastimage(t, nil, "bitmap", src)
	require.Zero(t, r.code, r.stderr)
	got, err := os.ReadFile(filepath.Join(dir, "disk.mf"))
	require.NoError(t, err)

	// The default layout, written down anew: a bit per 2 MiB, least
	// significant first, whole segments of 4096 bytes.
	want := make([]byte, 4096)
	zero := make([]byte, 2<<20)
	for b := range len(data) >> 21 {
		if !bytes.Equal(data[b<<21:(b+1)<<21], zero) {
			want[b/8] |= 1 << (b % 8)
		}
	}
	require.Equal(t, want, got)
	requireError(t, fastimage(t, nil, "bitmap", src), exitFailed, "-f")
}
