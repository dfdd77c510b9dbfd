package command

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// copies are files with the content of the demo disk.
func copies(t *testing.T, names ...string) (dir string, paths []string) {
	t.Helper()
	data, err := os.ReadFile(disk)
	require.NoError(t, err)
	dir = t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		paths = append(paths, path)
	}
	return dir, paths
}

func reports(t *testing.T, stdout string) []imageReport {
	t.Helper()
	var all []imageReport
	for line := range strings.Lines(stdout) {
		require.Equal(t, []string{"source", "name", "status", "result", "error"}, keys(t, line))
		var r imageReport
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		all = append(all, r)
	}
	return all
}

// Several images: one failure does not stop the others, and a second run imports
// only what is missing.
func TestImportMany(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	_, files := copies(t, "a.raw", "b.raw", "c d.raw")
	text := filepath.Join(t.TempDir(), "text.raw")
	require.NoError(t, os.WriteFile(text, []byte("not a disk image"), 0o600))
	state := []string{"--state-dir", t.TempDir()}
	run := func(args ...string) result {
		return fastimage(t, env, slices.Concat([]string{"import", "--os-version", "Debian GNU/Linux 12 64bit"}, state, args, files)...)
	}
	r := run(text)
	require.Equal(t, exitRefused, r.code, r.stderr)
	require.Len(t, srv.Images(), 3)
	require.Len(t, strings.Split(strings.TrimSpace(r.stdout), "\n"), 3)
	for _, img := range srv.Images() {
		require.Contains(t, r.stdout, img.ID+"  "+img.Name+"\n")
	}
	require.Contains(t, r.stderr, "text: failed: ")
	require.Contains(t, r.stderr, "total: 4 of 4 images, 1 failed")
	require.Regexp(t, `(?m)^`+srv.Images()[0].ID+` +imported `, r.stderr)
	requireLast(t, r, "1 of 4 images failed")

	r = run("--json")
	require.Zero(t, r.code, r.stderr)
	all := reports(t, r.stdout)
	require.Len(t, all, 3)
	for _, rep := range all {
		require.Equal(t, statusBefore, rep.Status)
		require.NotEmpty(t, rep.Result.ImageID)
		require.Nil(t, rep.Error)
	}
	require.Len(t, srv.Jobs(), 3)
}

// requireLast wants words in the last line of standard error.
func requireLast(t *testing.T, r result, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	for _, w := range words {
		require.Contains(t, lines[len(lines)-1], w)
	}
}

// The status of the run is the highest of its images.
func TestImportManyWorstStatus(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	_, files := copies(t, "a.raw", "b.raw")
	srv.Fail(jobFailure)
	text := filepath.Join(t.TempDir(), "text.raw")
	require.NoError(t, os.WriteFile(text, []byte("not a disk image"), 0o600))
	r := fastimage(t, env, append([]string{"import", "--json", "--parallel", "1", "--os-version", "Debian GNU/Linux 12 64bit", text}, files...)...)
	require.Equal(t, exitJobFailed, r.code, r.stderr)
	all := reports(t, r.stdout)
	require.Equal(t, []string{statusFailed, statusFailed, statusImported}, []string{all[0].Status, all[1].Status, all[2].Status})
	require.Equal(t, exitRefused, all[0].Error.Status)
	require.Equal(t, "IMG.0057", all[1].Error.Code)
}

func TestImportManyUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--name", "x", disk, disk}, "--name is for one image"},
		{[]string{"--key", "x", disk, disk}, "--key is for one image"},
		{[]string{"--manifest", "x.yaml", disk}, "contradict"},
		{[]string{"--parallel", "0", disk, disk}, "1 to 64"},
		{[]string{"--all-disks", disk, disk}, "one OVA"},
		{nil, "no image given"},
	} {
		requireError(t, fastimage(t, nil, append([]string{"import", "--local", "--os-version", "Debian GNU/Linux 12 64bit"}, c.args...)...), exitUsage, c.want)
	}
	requireError(t, fastimage(t, nil, "import", "--local", "--manifest", filepath.Join(t.TempDir(), "none.yaml")), exitFailed, "none.yaml", "check the path")
	requireRefused(t, fastimage(t, nil, "import", "--local", "--os-version", "Debian GNU/Linux 12 64bit", disk, disk), "name")
}

// A manifest with many mistakes: all are reported with their lines, and nothing
// is started.
func TestManifestProblems(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	dir, _ := copies(t, "a.raw")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty.raw"), nil, 0o600))
	name := filepath.Join(dir, "images.yaml")
	require.NoError(t, os.WriteFile(name, []byte(`defaults:
  os_version: Debian GNU/Linux 12 64bit
  key: x
images:
  - {source: a.raw, name: good}
  - source: missing.qcow2
    name: web/1
    min_disk: 40
    tags: [nodot]
    image_tags: {a: b}
  - source: a.raw
    name: good
    format: zvdh2
    level: fast
    os-version: x
  - source: empty.raw
    name: three
    type: Data
    firmware: efi
    architecture: arm
    size: big
    all_disks: maybe
    mf: a.mf
  - name: four
    source_format: qcow
    license: byol
    bucket: B
    key: a b
    description: "<b>"
  - source: a.raw
    name: data
    type: DataImage
    os_type: BSD
    min_disk: 2TiB
`), 0o600))
	r := fastimage(t, env, "import", "--manifest", name)
	require.Equal(t, exitRefused, r.code)
	require.Empty(t, r.stdout)
	for _, want := range []string{
		"3: defaults: key belongs", "6: source: ", `7: name "web/1"`, `8: min_disk "40"`, `9: tags "nodot"`,
		`12: name "good" is that of the image in line 5`, `13: format "zvdh2": want zvhd2 or raw; did you mean zvhd2`, `14: level "fast": want fastest`, `15: unknown key "os-version"; did you mean os_version`,
		"16: source: ", `18: type "Data"`, `19: firmware "efi"`, `21: size "big"`, "22: all_disks: want true or false", "mf and mf_layout go with format: raw",
		"24: the image has no source", `25: source_format "qcow"`, `26: license "byol"`, `27: bucket "B"`, `28: key "a b"`, `29: description "<b>"`,
		`33: os_type "BSD"`, `34: min_disk "2048"`,
	} {
		require.Contains(t, r.stderr, want)
	}
	requireLast(t, r, "problems; nothing was started")
	require.Empty(t, srv.Requests())

	r = fastimage(t, env, "import", "--json", "--manifest", name)
	var report struct{ Error diagnosis }
	require.NoError(t, json.Unmarshal([]byte(r.stderr), &report))
	require.Greater(t, len(report.Error.Problems), 20)
	require.Equal(t, 3, report.Error.Problems[0].Line)
}

func TestManifest(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	dir, _ := copies(t, "a.raw", "b.raw")
	name := filepath.Join(dir, "images.yaml")
	require.NoError(t, os.WriteFile(name, []byte(`defaults:
  os_version: Debian GNU/Linux 12 64bit
  tags: [team.web]
images:
  - {source: a.raw, name: web-1, min_disk: 40GiB}
  - {source: b.raw, name: data-1, type: DataImage, format: raw, key: folder/data.raw}
`), 0o600))
	r := fastimage(t, env, "import", "--dry-run", "--manifest", name)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, 2, strings.Count(r.stdout, "all checks passed"))
	require.Empty(t, srv.Images())
	r = fastimage(t, env, "import", "--manifest", name)
	require.Zero(t, r.code, r.stderr)
	disks := map[string]int{}
	for _, img := range srv.Images() {
		disks[img.Name] = img.MinDisk
	}
	require.Len(t, disks, 2)
	require.Equal(t, 40, disks["web-1"])
	require.Len(t, srv.Objects("images"), 3)
}

// All disks of an OVA: a system disk, and data disks with suffixed names.
func TestImportAllDisks(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	dir, _ := copies(t, "disk.raw")
	qemutest.Tool(t, dir, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "disk.raw", "disk.vmdk")
	vmdk, err := os.ReadFile(filepath.Join(dir, "disk.vmdk"))
	require.NoError(t, err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, m := range []struct {
		name string
		data []byte
	}{{"vm.ovf", []byte("<Envelope/>")}, {"vm-disk1.vmdk", vmdk}, {"vm-disk2.vmdk", vmdk}} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data))}))
		_, err = w.Write(m.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	ova := filepath.Join(dir, "vm.ova")
	require.NoError(t, os.WriteFile(ova, archive.Bytes(), 0o600))

	requireRefused(t, fastimage(t, env, "import", "--name", "web", "--os-version", "Debian GNU/Linux 12 64bit", ova), "--member", "--all-disks")
	r := fastimage(t, env, "import", "--all-disks", "--name", "web", "--os-version", "Debian GNU/Linux 12 64bit", ova)
	require.Zero(t, r.code, r.stderr)
	var names []string
	for _, img := range srv.Images() {
		names = append(names, img.Name)
	}
	slices.Sort(names)
	require.Equal(t, []string{"web", "web-disk2"}, names)
}

// An interrupted run says which images were, and is resumed by the same command.
func TestImportManyInterrupted(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t, imstest.WithJobDuration(time.Hour))
	_, files := copies(t, "a.raw", "b.raw")
	args := append([]string{"import", "--parallel", "1", "--os-version", "Debian GNU/Linux 12 64bit", "--state-dir", t.TempDir()}, files...)
	r := interrupted(t, env, "a: job: 0%", args...)
	require.Equal(t, exitInterrupted, r.code, r.stderr)
	require.Contains(t, r.stderr, "a: interrupted")
	requireLast(t, r, "interrupted", "run the same command again to resume")
	require.Len(t, srv.Jobs(), 1)
}

// 200 small images from a manifest, killed at random: in the end there are 200
// images, each once.
func TestManifestOfManyKilled(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	images, kills := 40, 5
	if os.Getenv("FASTIMAGE_LONG") != "" {
		images, kills = 200, 10
	}
	dir := t.TempDir()
	var text strings.Builder
	text.WriteString("defaults: {type: DataImage}\nimages:\n")
	for i := range images {
		file := fmt.Sprintf("d%03d.raw", i)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), bytes.Repeat([]byte{byte(i), 1, 2, 0xff}, 16<<10), 0o600))
		fmt.Fprintf(&text, "  - {source: %s, name: data-%03d, source_format: raw}\n", file, i)
	}
	name := filepath.Join(dir, "images.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text.String()), 0o600))
	args := []string{"import", "--manifest", name, "--parallel", "8", "--state-dir", filepath.Join(dir, "state")}
	for i := range kills {
		cmd := command(t, env, args...)
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return len(srv.Jobs()) > i*images/(kills+3) }, time.Minute, time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	// A process that died just before a create request leaves open whether it was
	// sent: --resubmit says that it may be sent again.
	args = append(args, "--settle-time", "1s")
	r := fastimage(t, env, args...)
	if r.code != 0 {
		require.Contains(t, r.stderr, "outcome unknown")
		r = fastimage(t, env, append(args, "--resubmit")...)
	}
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, fmt.Sprintf("total: %d of %d images", images, images))
	names := map[string]int{}
	for _, img := range srv.Images() {
		names[img.Name]++
	}
	require.Len(t, names, images)
	for n, times := range names {
		require.Equal(t, 1, times, n)
	}
	require.Equal(t, images, strings.Count(r.stdout, "  data-"))
}
