package main

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

const realDisk = "../../../testdata/disk.raw"

func TestDiskConvert(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "disk.zvhd2")
	var stdout bytes.Buffer
	require.NoError(t, run(t.Context(), []string{realDisk, out}, &stdout))
	require.Contains(t, stdout.String(), "raw, 2 partitions, 6 of 32 blocks stored")

	zr, err := zvhd2.Open(out)
	require.NoError(t, err)
	defer zr.Close()
	want, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	got, err := io.ReadAll(io.NewSectionReader(zr, 0, zr.Size()))
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(want), sha256.Sum256(got))
	mf, err := os.ReadFile(filepath.Join(dir, "disk.mf"))
	require.NoError(t, err)
	require.Len(t, mf, 4096)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "no temporary file stays")
}

// A disk that was cut short leaves no file.
func TestDiskConvertRefuses(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	cut := filepath.Join(dir, "cut.raw")
	require.NoError(t, os.WriteFile(cut, data[:len(data)/2], 0o600))
	require.ErrorContains(t, run(t.Context(), []string{cut, filepath.Join(dir, "out.zvhd2")}, io.Discard), "truncated")
	require.NoFileExists(t, filepath.Join(dir, "out.zvhd2"))
	require.ErrorContains(t, run(t.Context(), nil, io.Discard), "usage")
}
