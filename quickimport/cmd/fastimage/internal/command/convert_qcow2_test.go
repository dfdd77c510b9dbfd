package command

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// Every kind of source becomes QCOW2, from files, streams and URLs.
func TestConvertAnySourceToQCOW2(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	raw, err := filepath.Abs("../../../../../testdata/disk.raw")
	require.NoError(t, err)
	disk, err := os.ReadFile(raw)
	require.NoError(t, err)
	in := func(name string) string { return filepath.Join(dir, name) }
	r := fastimage(t, nil, "convert", "-q", raw, in("disk.zvhd2"))
	require.Equal(t, exitDone, r.code, r.stderr)
	container, err := os.ReadFile(in("disk.zvhd2"))
	require.NoError(t, err)
	var gz bytes.Buffer
	zw := gzip.NewWriter(&gz)
	_, err = zw.Write(disk)
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	require.NoError(t, os.WriteFile(in("disk.raw.gz"), gz.Bytes(), 0o600))
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(web.Close)
	for name, c := range map[string]struct {
		source string
		stdin  []byte
		flags  []string
	}{
		"raw":               {source: raw},
		"zvhd2":             {source: in("disk.zvhd2"), flags: []string{"--compression", "zlib"}},
		"zvhd2 over http":   {source: web.URL + "/disk.zvhd2", flags: []string{"--compression", "zstd"}},
		"zvhd2 from stdin":  {source: "-", stdin: container},
		"gzip":              {source: in("disk.raw.gz"), flags: []string{"--compression", "zstd"}},
		"by flag, any name": {source: raw, flags: []string{"--to", "qcow2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "out.qcow2")
			r := run(t.Context(), t, nil, bytes.NewReader(c.stdin), append(append([]string{"convert", "-q"}, c.flags...), c.source, out)...)
			require.Equal(t, 0, r.code, r.stderr)
			f, err := os.Open(out)
			require.NoError(t, err)
			defer f.Close()
			fi, err := f.Stat()
			require.NoError(t, err)
			q, err := qcow2.NewReader(f, fi.Size())
			require.NoError(t, err)
			defer q.Close()
			got, err := io.ReadAll(io.NewSectionReader(q, 0, q.Size()))
			require.NoError(t, err)
			require.True(t, bytes.Equal(disk, got))
			qemutest.Oracle(t, "qemu-img")
			qemutest.Img(t, "", "check", out)
			qemutest.Img(t, "", "compare", "-f", "raw", "-F", "qcow2", raw, out)
		})
	}
}

func TestConvertToQCOW2Refused(t *testing.T) {
	t.Parallel()
	raw := "../../../../../testdata/disk.raw"
	for _, args := range [][]string{
		{"convert", "--to", "qcow2", raw, "-"},
		{"convert", "--compression", "zlib", raw, "x.zvhd2"},
		{"convert", "--compression", "lz4", raw, "x.qcow2"},
	} {
		r := fastimage(t, nil, args...)
		require.Equal(t, exitUsage, r.code, "%v: %s", args, r.stderr)
		require.NoFileExists(t, "x.zvhd2")
	}
}
