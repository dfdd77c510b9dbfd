package guest_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

// examine examines a disk.
func examine(t *testing.T, img []byte, opts ...guest.Option) *guest.Report {
	t.Helper()
	r, err := guest.Examine(t.Context(), bytes.NewReader(img), int64(len(img)), opts...)
	require.NoError(t, err)
	return r
}

// onDisk puts a root file system on a disk that a BIOS can start.
func onDisk(tree gt.Tree) []byte {
	return gt.MBR(true, gt.Partition{Active: true, Content: gt.Ext2(gt.RootUUID, "root", tree)})
}

func finding(t *testing.T, r *guest.Report, check string) guest.Finding {
	t.Helper()
	f, ok := r.Finding(check)
	require.True(t, ok, "no check %s: %s", check, r.Reason)
	return f
}

func TestGoodGuest(t *testing.T) {
	t.Parallel()
	r := examine(t, onDisk(gt.Debian()))
	require.True(t, r.Examined, r.Reason)
	require.Equal(t, "debian", r.OS.ID)
	require.Equal(t, "12.9", r.OS.Version)
	require.Equal(t, gt.Kernel, r.Kernel)
	require.Equal(t, "x86_64", r.Architecture)
	require.Equal(t, []guest.Firmware{guest.FirmwareBIOS}, r.Firmware)
	require.Equal(t, guest.Volume{Name: "partition 1", Size: r.Root.Size, Type: "ext2", UUID: gt.RootUUID, Label: "root", Mount: "/"}, r.Root)
	for _, f := range r.Findings {
		if f.Check == "os-version" { // the documents are older than this Debian
			require.Equal(t, guest.StatusNote, f.Status, "%+v", f)
			continue
		}
		require.Equal(t, guest.StatusOK, f.Status, "%+v", f)
		require.NotEmpty(t, f.Summary, f.Check)
		require.NotEmpty(t, f.Guide, f.Check)
	}
	require.True(t, r.Ready())
	require.Less(t, r.Reads.Bytes, int64(16<<20))
}
