package command

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// piped runs the command with in as its standard input, through a pipe.
func piped(t *testing.T, env []string, in io.Reader, args ...string) result {
	t.Helper()
	return run(t.Context(), t, env, in, args...)
}

// A container comes out of a pipe as the disk that went in; what has to be read
// here and there is refused by name.
func TestConvertStandardInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	container, out := filepath.Join(dir, "disk.zvhd2"), filepath.Join(dir, "out.raw")
	require.Zero(t, fastimage(t, nil, "convert", "-q", disk, container).code)
	packed, err := os.ReadFile(container)
	require.NoError(t, err)

	r := piped(t, nil, bytes.NewReader(packed), "convert", "--json", "-", out)
	require.Zero(t, r.code, r.stderr)
	var rep converted
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
	require.Equal(t, "zvhd2", rep.SourceFormat)
	want, err := os.ReadFile(disk)
	require.NoError(t, err)
	got, err := os.ReadFile(out)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))

	r = piped(t, nil, bytes.NewReader(packed[:5000]), "convert", "-", filepath.Join(dir, "cut.raw"))
	requireError(t, r, exitFailed, "download the file again")
	r = piped(t, nil, bytes.NewReader(want), "convert", "-", filepath.Join(dir, "raw.zvhd2"))
	requireError(t, r, exitUsage, "--size")
	requireError(t, piped(t, nil, bytes.NewReader(nil), "convert", "-", filepath.Join(dir, "none.raw")), exitFailed, "empty")
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{container, out}, left)
}

// What comes through a pipe is the object, and goes on where it was.
func TestUploadStandardInput(t *testing.T) {
	t.Parallel()
	c := serve(t, t.TempDir())
	data, err := os.ReadFile(disk)
	require.NoError(t, err)
	state := []string{"--state-dir", t.TempDir()}
	upload := func(in io.Reader, args ...string) result {
		return piped(t, c.env, in, append(append([]string{"upload"}, state...), args...)...)
	}
	r := upload(bytes.NewReader(data), "--json", "-", "obs://images/piped.raw")
	require.Zero(t, r.code, r.stderr)
	var rep uploadReport
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
	require.Equal(t, int64(len(data)), rep.ObjectBytes)
	require.Positive(t, rep.CopiedBytes)
	require.Contains(t, r.stderr, "upload: 64MiB, 40MiB skipped", "no percentage of an unknown size")

	whole := fastimage(t, c.env, "upload", "-q", disk, "obs://images/whole.raw")
	require.Equal(t, rep.ETag+"\n", whole.stdout)
	requireError(t, upload(bytes.NewReader(nil), "-", "obs://images/none"), exitFailed, "standard input is empty")
	requireError(t, fastimage(t, c.env, "info", "obs://images/none"), exitFailed, "no such object")
	requireError(t, fastimage(t, c.env, "uploads", "list", "--json", "obs://nosuchbucket/"), exitFailed, "no such bucket")
}
