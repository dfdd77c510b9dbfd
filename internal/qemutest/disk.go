package qemutest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Disk is a disk to make images of: data, and zeros elsewhere.
type Disk struct {
	Name string
	Size int64
	Data []Extent
}

// Small are the disks that are compared in whole.
func Small() []Disk {
	return []Disk{
		{"pattern", 3*MiB + 512, pattern()},
		{"empty", 3 * MiB, nil},
		{"odd", 1000001, []Extent{{0, 70000}, {500001, 1000001}}},
		{"less than a sector", 300, []Extent{{0, 300}}},
		{"dense", 9*MiB + 512, []Extent{{0, 9*MiB + 512}}},
		{"sparse", 65*MiB + 3*512, []Extent{{MiB - 700, MiB + 700}, {17 * MiB, 17*MiB + 100*KiB}, {65 * MiB, 65*MiB + 1536}}},
	}
}

// Over4GiB and Over2TiB are compared where either side may have data.
func Over4GiB() Disk {
	return Disk{"5GiB", 5*GiB + 512, []Extent{{0, 64 * KiB}, {4*GiB - 8*KiB, 4*GiB + 8*KiB}, {5 * GiB, 5*GiB + 512}}}
}

// Over2TiB has data on both sides of 2 TiB.
func Over2TiB() Disk {
	return Disk{"2TiB", 2*TiB + 3*MiB, []Extent{{MiB, 2 * MiB}, {TiB, TiB + 4*KiB}, {2*TiB - 4*KiB, 2*TiB + 12*KiB}, {2*TiB + 3*MiB - 512, 2*TiB + 3*MiB}}}
}

// pattern is data in pieces of many sizes, so that blocks and what they consist
// of are full, in part, and empty.
func pattern() (list []Extent) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for off := int64(0); off < 3*MiB; {
		n := int64(512) << rnd.IntN(9)
		list = append(list, Extent{off, min(off+n, 3*MiB)})
		off += n + 512<<rnd.IntN(9)
	}
	return list
}

// Write makes the disk as a sparse file in dir, half noise and half text, and
// returns its name.
func (d Disk) Write(t testing.TB, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, strings.ReplaceAll(d.Name, " ", "-")+".raw"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.NoError(t, f.Truncate(d.Size))
	noise := rand.NewChaCha8([32]byte{7})
	for _, e := range d.Data {
		b := Text(noise, int(e[1]-e[0]))
		_, _ = noise.Read(b[:len(b)/2])
		_, err := f.WriteAt(b, e[0])
		require.NoError(t, err)
	}
	return f.Name()
}

// Text is words in no order, which compress about as well as text does.
func Text(rnd rand.Source, n int) []byte {
	words := strings.Fields("a disk image is organized in units of constant size which are called clusters or grains " +
		"all numbers are stored in one byte order; the first sector contains the header 0123 4567 89ab cdef")
	b := make([]byte, 0, n+16)
	for len(b) < n {
		for x := rnd.Uint64(); x != 0; x >>= 8 {
			b = append(append(b, words[x%uint64(len(words))]...), byte(x>>3&1)+' ')
		}
	}
	return b[:n]
}
