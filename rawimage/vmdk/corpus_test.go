package vmdk_test

import (
	"io"
	"testing"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vmdk"
)

func openSource(ra io.ReaderAt, size int64) (qemutest.Image, error) { return vmdk.NewReader(ra, size) }

// Images that are built here, in every order of their blocks.
func TestCorpus(t *testing.T) {
	t.Parallel()
	t.Run("sparse", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 1009, Block: 4096},
			func(l qemutest.Layout) *qemutest.File { return l.VMDK() }, openSource, "-f", "vmdk", "disk")
	})
	t.Run("tiny tables", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 1009, Block: 512, Every: 1},
			func(l qemutest.Layout) *qemutest.File { return l.VMDK() }, openSource)
	})
	t.Run("COWD", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 5003, Block: 512},
			func(l qemutest.Layout) *qemutest.File { return l.COWD() }, openSource, "-f", "vmdk", "disk")
	})
}

// Blocks in reverse order, or many tables with little in them: the work is bounded
// for each call, and linear in all.
func TestPathological(t *testing.T) {
	l := qemutest.Layout{Blocks: 1 << 16, Block: 512, Every: 1, Stored: qemutest.Reversed(1<<16, 2)}
	f := l.VMDK()
	qemutest.Pathological(t, f, openSource, qemutest.Work{CallReads: 2100, Reads: 3 << 16, Memory: 8*f.Len + 16<<20})
}
