package command

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A refused import names the flags, not the fields of the request.
func TestProblemsNameFlags(t *testing.T) {
	t.Parallel()
	r := fastimage(t, nil, append(demo, "--tag", "x", "--firmware", "efi", "--license", "gpl", "--min-disk", "2TiB", "--bucket", "B", disk)...)
	for _, want := range []string{`--tag "x": `, `--firmware "efi": `, `--license "gpl": `, `--min-disk "2048": `, `--bucket "B": `} {
		requireRefused(t, r, "fastimage: "+want)
	}
	requireRefused(t, fastimage(t, nil, append(demo, "--key", "a b", disk)...), `fastimage: --key "a b": `)
	plan := fastimage(t, nil, append(demo, "--dry-run", disk)...)
	require.Zero(t, plan.code, plan.stderr)
	require.NotContains(t, plan.stdout, "warning")
	content, err := os.ReadFile(disk)
	require.NoError(t, err)
	broken := filepath.Join(t.TempDir(), "broken.raw")
	require.NoError(t, os.WriteFile(broken, bytes.Replace(content, []byte("root=LABEL=root"), []byte("root=/dev/sda2 "), 1), 0o600))
	require.Contains(t, fastimage(t, nil, append(demo, "--dry-run", broken)...).stdout, "warning  ")
	require.Contains(t, fastimage(t, nil, append(demo, broken)...).stderr, "warning ")
}

// The end of --timeout is not blamed on the network.
func TestTimeoutIsOver(t *testing.T) {
	t.Parallel()
	r := fastimage(t, nil, append(demo, "--timeout", "1ns", disk)...)
	requireError(t, r, exitFailed, "the time of --timeout is up; run the same command again to start over")
	r = fastimage(t, nil, append(demo, "--timeout", "1ns", "--state-dir", t.TempDir(), disk)...)
	requireError(t, r, exitFailed, "to resume")
}

// A file of another format is not called a damaged container.
func TestNoContainer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{{"verify", disk}, {"verify", "--json", disk}, {"optimize", disk, filepath.Join(dir, "out")}} {
		requireError(t, fastimage(t, nil, args...), exitFailed, "is raw, not a ZVHD2", "fastimage convert")
	}
	// One whose start is gone is still known by its end.
	damaged := filepath.Join(dir, "damaged")
	require.Zero(t, fastimage(t, nil, "convert", "-q", "--to", "zvhd2", disk, damaged).code)
	f, err := os.OpenFile(damaged, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, 4096), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	r := fastimage(t, nil, "verify", damaged)
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stdout, "offset 0")
	requireError(t, fastimage(t, nil, "optimize", damaged, filepath.Join(dir, "out")), exitFailed, "--recover")
}

// An output that exists is found before the scan.
func TestBitmapExists(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "disk.mf")
	require.Zero(t, fastimage(t, nil, "bitmap", "-q", disk, out).code)
	r := fastimage(t, nil, "bitmap", disk, out)
	requireError(t, r, exitFailed, "exists")
	require.NotContains(t, r.stderr, "scan")
}

// --size is a promise about any image, not only about one whose size is unknown.
func TestSizeIsHeld(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "disk.zvhd2")
	requireError(t, fastimage(t, nil, "convert", "--size", "40GiB", disk, out), exitFailed, "67108864", "leave out --size")
	requireRefused(t, fastimage(t, nil, append(demo, "--size", "40GiB", disk)...), "67108864")
	require.Zero(t, fastimage(t, nil, "convert", "--size", "64MiB", disk, out).code)
}

// A state directory that cannot be is said with the flag that names another.
func TestStateDirectory(t *testing.T) {
	t.Parallel()
	bad := []string{"--state-dir", filepath.Join(disk, "x")}
	requireError(t, fastimage(t, nil, append(append(demo, bad...), disk)...), exitFailed, "--state-dir")
	requireError(t, fastimage(t, nil, append(bad, "upload", "--region", "r", disk, "obs://images/x")...), exitFailed, "--state-dir")
}

// What is no disk is not imported as one, unless the user says that it is.
func TestNoDisk(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "noise.img")
	require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte{0x91, 7, 0xc3, 0x5a}, 1<<18), 0o600))
	requireRefused(t, fastimage(t, nil, append(demo, name)...), "no partition table, no boot code and no file system", "use --source-format raw")
	require.Zero(t, fastimage(t, nil, append(demo, "--source-format", "raw", name)...).code)
	require.Zero(t, fastimage(t, nil, "import", "--local", "--name", "data", "--type", "DataImage", name).code)
}
