package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What infer prints, bitmap --layout takes, and the same bytes come out.
func TestInferCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, layout := range []string{
		"bits,block=2M,order=lsb,data=1,pad=4096,fill=0",
		"bits,block=256K,order=msb,data=0,pad=512,fill=1,header=hex:4d463031+block:u32be+size:u64be",
		"runs,block=64K,number=u32be,pad=1,header=entries:u32be",
		"list,block=1M,number=u64le,unit=1,header=hex:4d46+hex:00*14",
	} {
		vendor, again := filepath.Join(dir, "vendor.mf"), filepath.Join(dir, "again.mf")
		r := fastimage(t, nil, "-q", "bitmap", "-f", "--layout", layout, disk, vendor)
		require.Zero(t, r.code, r.stderr)
		r = fastimage(t, nil, "bitmap", "infer", disk, vendor)
		require.Zero(t, r.code, r.stderr)
		found := strings.Split(strings.TrimSpace(r.stdout), "\n")
		if len(found) > 1 {
			require.Contains(t, r.stderr, "this image does not tell")
		}
		r = fastimage(t, nil, "-q", "bitmap", "-f", "--layout", found[0], disk, again)
		require.Zero(t, r.code, r.stderr)
		want, err := os.ReadFile(vendor)
		require.NoError(t, err)
		got, err := os.ReadFile(again)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestInferCommandFindsNone(t *testing.T) {
	t.Parallel()
	mf := filepath.Join(t.TempDir(), "vendor.mf")
	r := fastimage(t, nil, "-q", "bitmap", disk, mf)
	require.Zero(t, r.code, r.stderr)
	data, err := os.ReadFile(mf)
	require.NoError(t, err)
	data[1], data[700] = 0x55, 1
	require.NoError(t, os.WriteFile(mf, data, 0o600))

	r = fastimage(t, nil, "bitmap", "infer", disk, mf)
	requireError(t, r, exitFailed, "no layout reproduces "+mf,
		"the closest, bits,block=2M,order=lsb,data=1,pad=4096,fill=0, differs in 2 of 4096 bytes, the first at byte 1")

	r = fastimage(t, nil, "bitmap", "infer", "--json", disk, mf)
	require.Equal(t, exitFailed, r.code)
	var report inferReport
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &report))
	require.Empty(t, report.Layouts)
	require.Equal(t, &closestReport{"bits,block=2M,order=lsb,data=1,pad=4096,fill=0", 2, 1, 4096}, report.Closest)
	require.Equal(t, []string{"file", "layouts", "total", "open", "weak", "closest"}, keys(t, r.stdout))

	requireError(t, fastimage(t, nil, "bitmap", "infer", disk, disk), exitFailed, "check that it is the bitmap file of")
	requireError(t, fastimage(t, nil, "bitmap", "infer", disk, filepath.Join(t.TempDir(), "none.mf")), exitFailed, "none.mf")
	require.Equal(t, exitUsage, fastimage(t, nil, "bitmap", "infer", disk).code)
}
