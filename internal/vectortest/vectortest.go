// Package vectortest reads the reference files: ZVHD2 and ZVHD files that the
// vendor's block driver wrote, in zvhd2/testdata. It is for tests.
package vectortest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// BlockSize is the block size of all reference files, in bytes.
const BlockSize = 2 << 20

// Vector is a reference file.
type Vector struct {
	File   string `json:"file"`     // its name, such as "gaps.zvhd2"
	Size   int64  `json:"raw_size"` // bytes of the disk in it
	Blocks []struct {
		Block int64  `json:"block"`  // its number
		Hash  string `json:"sha256"` // of its content, padded to BlockSize
	} `json:"stored_blocks"` // every other block is zero

	Data []byte `json:"-"` // the file, which tests must not change
}

var load = sync.OnceValues(func() ([]Vector, error) {
	dir, text, err := find()
	if err != nil {
		return nil, err
	}
	var all []Vector
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	for i := range all {
		packed, err := os.ReadFile(filepath.Join(dir, all[i].File+".zst"))
		if err != nil {
			return nil, err
		}
		if all[i].Data, err = dec.DecodeAll(packed, nil); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// find looks for the files in the directories above the test's own, in which a
// test runs.
func find() (dir string, manifest []byte, err error) {
	for up := "."; len(up) < 64; up = filepath.Join(up, "..") {
		dir = filepath.Join(up, "zvhd2", "testdata")
		if manifest, err = os.ReadFile(filepath.Join(dir, "manifest.json")); err == nil {
			return dir, manifest, nil
		}
	}
	return "", nil, err
}

// All returns the reference files.
func All(t testing.TB) []Vector {
	t.Helper()
	all, err := load()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// WithExt returns the reference files whose names end in ext: ".zvhd" or ".zvhd2".
func WithExt(t testing.TB, ext string) []Vector {
	t.Helper()
	var found []Vector
	for _, v := range All(t) {
		if filepath.Ext(v.File) == ext {
			found = append(found, v)
		}
	}
	require.NotEmpty(t, found)
	return found
}

// Named returns the reference file of that name.
func Named(t testing.TB, name string) Vector {
	t.Helper()
	for _, v := range All(t) {
		if v.File == name {
			return v
		}
	}
	require.Failf(t, "no such reference file", "%s", name)
	return Vector{}
}

// Check compares the disk in r with the manifest: every stored block, and the
// zeros around them. Of a disk of many blocks it reads the first 64, the last 8
// and the stored ones.
func (v *Vector) Check(t testing.TB, r io.ReaderAt) {
	t.Helper()
	want := make(map[int64]string)
	for _, s := range v.Blocks {
		want[s.Block] = s.Hash
	}
	buf, zeros := make([]byte, BlockSize), make([]byte, BlockSize)
	blocks := (v.Size + BlockSize - 1) / BlockSize
	for b := range blocks {
		if b > 64 && b < blocks-8 && want[b] == "" {
			continue
		}
		clear(buf)
		_, err := r.ReadAt(buf[:min(BlockSize, v.Size-b*BlockSize)], b*BlockSize)
		if err != io.EOF {
			require.NoError(t, err)
		}
		if want[b] == "" {
			require.True(t, string(buf) == string(zeros), "block %d is not zero", b)
			continue
		}
		sum := sha256.Sum256(buf)
		require.Equal(t, want[b], hex.EncodeToString(sum[:]), "block %d", b)
	}
}
