package qcow2_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
)

// qemuInfo is what qemu-img info prints, as far as there is something to
// compare it with.
type qemuInfo struct {
	VirtualSize   int64  `json:"virtual-size"`
	ClusterSize   int64  `json:"cluster-size"`
	BackingFile   string `json:"backing-filename"`
	BackingFormat string `json:"backing-filename-format"`
	Dirty         bool   `json:"dirty-flag"`
	Snapshots     []struct {
		ID, Name string
		DateSec  int64 `json:"date-sec"`
		DateNsec int64 `json:"date-nsec"`
		VMState  int64 `json:"vm-state-size"`
	}
	Specific struct {
		Data struct {
			Compat          string
			CompressionType string `json:"compression-type"`
			LazyRefcounts   bool   `json:"lazy-refcounts"`
			RefcountBits    int    `json:"refcount-bits"`
			Corrupt         bool
			ExtendedL2      bool   `json:"extended-l2"`
			DataFile        string `json:"data-file"`
			DataFileRaw     bool   `json:"data-file-raw"`
		}
	} `json:"format-specific"`
}

// Info says what qemu-img info says.
func TestInfo(t *testing.T) {
	for name, steps := range map[string][]step{
		"plain":        nil,
		"version 2":    {img("create", "-f", "qcow2", "-o", "compat=0.10,cluster_size=4k", "disk.qcow2", "100k")},
		"zstd":         {img("create", "-f", "qcow2", "-o", "compression_type=zstd", "disk.qcow2", "100k")},
		"lazy":         {img("create", "-f", "qcow2", "-o", "lazy_refcounts=on,refcount_bits=1", "disk.qcow2", "100k")},
		"refcounts":    {img("create", "-f", "qcow2", "-o", "refcount_bits=64", "disk.qcow2", "3T")},
		"extended":     {img("create", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", "disk.qcow2", "100k")},
		"data file":    {img("create", "-f", "qcow2", "-o", "data_file=x.data", "disk.qcow2", "100k")},
		"raw data":     {img("create", "-f", "qcow2", "-o", "data_file=x.data,data_file_raw=on", "disk.qcow2", "100k")},
		"backing":      {img("create", "-f", "raw", "base", "1M"), img("create", "-f", "qcow2", "-b", "base", "-F", "raw", "disk.qcow2")},
		"one snapshot": {img("create", "-f", "qcow2", "disk.qcow2", "1M"), img("snapshot", "-c", "first", "disk.qcow2")},
		"snapshots": {img("create", "-f", "qcow2", "disk.qcow2", "1M"), img("snapshot", "-c", "first", "disk.qcow2"),
			img("snapshot", "-c", "the second", "disk.qcow2"), img("snapshot", "-c", "x", "disk.qcow2")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if steps == nil {
				steps = []step{img("create", "-f", "qcow2", "disk.qcow2", "100k")}
			}
			for _, s := range steps {
				qemutest.Img(t, dir, s.args...)
			}
			sameInfo(t, dir)
		})
	}
	t.Run("dirty and corrupt", func(t *testing.T) {
		dir := t.TempDir()
		raw := pattern().Write(t, dir)
		qemutest.Img(t, dir, "convert", "-O", "qcow2", raw, "disk.qcow2")
		patch(t, filepath.Join(dir, "disk.qcow2"), 72, "\x00\x00\x00\x00\x00\x00\x00\x03")
		sameInfo(t, dir)
		same(t, dir, false)
		i := open(t, filepath.Join(dir, "disk.qcow2")).Info()
		require.True(t, i.Dirty)
		require.True(t, i.Corrupt)
		require.Equal(t, []string{"dirty bit", "corrupt bit"}, i.Features)
	})
}

func sameInfo(t *testing.T, dir string) {
	t.Helper()
	var q qemuInfo
	require.NoError(t, json.Unmarshal(qemutest.Img(t, dir, "info", "--output=json", "disk.qcow2"), &q))
	i := open(t, filepath.Join(dir, "disk.qcow2")).Info()
	d := q.Specific.Data
	require.Equal(t, q.VirtualSize, i.Size)
	require.Equal(t, q.VirtualSize, i.DiskSize)
	require.Equal(t, q.ClusterSize, i.ClusterSize)
	require.Equal(t, q.BackingFile, i.BackingFile)
	require.Equal(t, q.BackingFormat, i.BackingFormat)
	require.Equal(t, q.Dirty, i.Dirty)
	require.Equal(t, map[string]int{"0.10": 2, "1.1": 3}[d.Compat], i.Version)
	require.Equal(t, d.CompressionType, i.Compression)
	require.Equal(t, d.LazyRefcounts, i.LazyRefcounts)
	require.Equal(t, d.RefcountBits, i.RefcountBits)
	require.Equal(t, d.Corrupt, i.Corrupt)
	require.Equal(t, d.ExtendedL2, i.ExtendedL2)
	require.Equal(t, d.ExtendedL2, i.SubclusterSize*32 == i.ClusterSize)
	require.Equal(t, d.DataFile, i.DataFile)
	require.Equal(t, d.DataFile != "", i.ExternalData)
	require.Equal(t, d.DataFileRaw, i.RawExternalData)
	require.Len(t, i.Snapshots, len(q.Snapshots))
	require.Equal(t, len(q.Snapshots), i.SnapshotCount)
	for k, s := range q.Snapshots {
		require.Equal(t, s.ID, i.Snapshots[k].ID)
		require.Equal(t, s.Name, i.Snapshots[k].Name)
		require.True(t, time.Unix(s.DateSec, s.DateNsec).Equal(i.Snapshots[k].Created))
		require.Equal(t, s.VMState, i.Snapshots[k].VMStateSize)
		require.Equal(t, i.Size, i.Snapshots[k].DiskSize)
	}
}
