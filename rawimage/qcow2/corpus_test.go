package qcow2_test

import (
	"io"
	"testing"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

func openSource(ra io.ReaderAt, size int64) (qemutest.Image, error) { return qcow2.NewReader(ra, size) }

// Images that are built here, in every order of their blocks.
func TestCorpus(t *testing.T) {
	t.Parallel()
	t.Run("version 2", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 1009, Block: 4096},
			func(l qemutest.Layout) *qemutest.File { return l.QCOW2(2) }, openSource, "-f", "qcow2", "disk")
	})
	t.Run("version 3", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 5003, Block: 512},
			func(l qemutest.Layout) *qemutest.File { return l.QCOW2(3) }, openSource, "-f", "qcow2", "disk")
	})
}

// Blocks in reverse order, or many tables with little in them: the work is bounded
// for each call, and linear in all.
func TestPathological(t *testing.T) {
	l := qemutest.Layout{Blocks: 1 << 18, Block: 512, Stored: qemutest.Reversed(1<<18, 64)}
	f := l.QCOW2(3)
	qemutest.Pathological(t, f, openSource, qemutest.Work{CallReads: 9000, Reads: 4 << 13, Memory: 8*f.Len + 16<<20})
}
