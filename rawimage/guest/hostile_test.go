package guest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

func TestLinksStayInside(t *testing.T) {
	t.Parallel()
	r := examine(t, onDisk(gt.Debian().With(gt.Tree{
		"loop/a": gt.Link + "b", "loop/b": gt.Link + "a", "loop/self": gt.Link + "self/self/self", "loop/up": gt.Link + "../../../../../../etc/passwd",
		"loop/deep": gt.Link + strings.Repeat("../loop/", 400) + "up", "loop/absolute": gt.Link + "/etc/passwd", "loop/dir": gt.Link + "/loop",
	})))
	require.True(t, r.Examined)
	for _, name := range []string{"loop/a", "loop/self", "loop/dir/dir/dir/a"} {
		_, err := fs.ReadFile(r.FS(), name)
		require.ErrorIs(t, err, fs.ErrInvalid, name)
	}
	for _, name := range []string{"loop/up", "loop/absolute", "loop/dir/dir/up"} {
		p, err := fs.ReadFile(r.FS(), name)
		require.NoError(t, err, name)
		require.Equal(t, gt.Debian()["etc/passwd"], string(p))
	}
	_, err := fs.ReadFile(r.FS(), "../etc/passwd")
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = fs.ReadFile(r.FS(), "etc/none")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// A directory that contains itself is listed like any other.
func TestDirectoryLoop(t *testing.T) {
	t.Parallel()
	img := onDisk(gt.Debian().With(gt.Tree{"zz/file": "x"}))
	// The entry of "file" names the inode of the root.
	at := bytes.Index(img, []byte("\x04\x01file"))
	require.Positive(t, at)
	binary.LittleEndian.PutUint32(img[at-6:], 2)
	r := examine(t, img)
	require.True(t, r.Examined)
	p, err := fs.ReadFile(r.FS(), strings.Repeat("zz/file/", 40)+"etc/passwd")
	require.NoError(t, err)
	require.NotEmpty(t, p)
}

func TestHugeMetadata(t *testing.T) {
	t.Parallel()
	pv := gt.Physical(gt.PVID(0), "x")
	binary.LittleEndian.PutUint64(pv[616+8:], 1<<40)
	for name, change := range map[string]func(p []byte){
		"an area past the end": func([]byte) {},
		"100 MB of text": func(p []byte) {
			binary.LittleEndian.PutUint64(p[616+8:], mib-4096)
			binary.LittleEndian.PutUint64(p[4096+48:], 100<<20)
		},
		"text without an end": func(p []byte) {
			binary.LittleEndian.PutUint64(p[616+8:], mib-4096)
			binary.LittleEndian.PutUint64(p[4096+48:], 500<<10)
			fill(p[4096+512:], "a{")
		},
		"a list without an end": func(p []byte) {
			binary.LittleEndian.PutUint64(p[616+8:], mib-4096)
			binary.LittleEndian.PutUint64(p[4096+40:], 512)
			binary.LittleEndian.PutUint64(p[4096+48:], 900<<10)
			fill(p[4096+512:], "a=[1,1,1,1,1,1,1,1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := append([]byte{}, pv...)
			change(p)
			r := examine(t, lvmDisk(p))
			require.False(t, r.Examined)
			require.Contains(t, r.Reason, "LVM metadata")
		})
	}
}

func fill(p []byte, s string) {
	for len(p) > 0 {
		p = p[copy(p, s):]
	}
}

// Keys that contain themselves, and lists of lists that do.
func TestHiveCycles(t *testing.T) {
	t.Parallel()
	hive := []byte(systemHive(nil))
	lists := 0
	for at := 4096; at+4 < len(hive); at++ {
		if string(hive[at:at+2]) == "lh" {
			lists++
			hive[at+1] = 'i' // lists in place of keys, in cycles
			hive[at] = 'r'
		}
	}
	require.Positive(t, lists)
	r := examine(t, windowsDisk(false, windowsTree().With(gt.Tree{sysdir + "config/SYSTEM": string(hive)})))
	require.True(t, r.Examined, r.Reason)
	require.Equal(t, guest.StatusUnknown, finding(t, r, "windows-virtio-disk").Status)

	r = examine(t, windowsDisk(false, windowsTree().With(gt.Tree{sysdir + "config/SOFTWARE": "no hive" + strings.Repeat(" ", 600)})))
	require.False(t, r.Examined)
	require.Contains(t, r.Reason, "registry hive")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	img := onDisk(gt.Debian())
	r := examine(t, img, guest.WithMaxBytes(128<<10))
	require.False(t, r.Examined)
	require.Contains(t, r.Reason, "read limit reached")
	require.LessOrEqual(t, r.Reads.Bytes, int64(128<<10))

	r = examine(t, img, guest.WithTimeout(1))
	require.False(t, r.Examined)
	require.Contains(t, r.Reason, "time limit reached")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := guest.Examine(ctx, bytes.NewReader(img), int64(len(img)))
	require.ErrorIs(t, err, context.Canceled)

	broken := errors.New("network is down")
	r, err = guest.Examine(t.Context(), brokenReader{broken}, mib)
	require.NoError(t, err)
	require.False(t, r.Examined)
	require.Contains(t, r.Reason, "network is down")

	for _, opt := range []guest.Option{guest.WithFirmware("x"), guest.WithArchitecture("mips"), guest.WithMaxBytes(0), guest.WithTimeout(-1)} {
		_, err = guest.Examine(t.Context(), bytes.NewReader(img), int64(len(img)), opt)
		require.Error(t, err)
	}
	_, err = guest.Examine(t.Context(), bytes.NewReader(img), int64(len(img)), guest.WithArchitecture("arm"), guest.WithFirmware(guest.FirmwareBIOS))
	require.Error(t, err)
	_, err = guest.Examine(t.Context(), nil, 0)
	require.Error(t, err)
	_, err = guest.Examine(t.Context(), bytes.NewReader(nil), -1)
	require.Error(t, err)
}

type brokenReader struct{ err error }

func (r brokenReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

// What is damaged in one place leaves the rest examined.
func TestDamagedInitramfs(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "\x00\x00\x00\x00", "text": "no archive", "cut": gt.Debian()["boot/initrd.img-"+gt.Kernel][:1500], "LZO": "\x89LZO\x00\x0d\x0a\x1a\x0a",
	} {
		r := examine(t, onDisk(gt.Debian().With(gt.Tree{"boot/initrd.img-" + gt.Kernel: content})))
		require.True(t, r.Examined)
		f := finding(t, r, "initramfs-virtio")
		if name == "empty" {
			require.Equal(t, guest.StatusFail, f.Status, "%s: %+v", name, f)
			continue
		}
		require.Equal(t, guest.StatusUnknown, f.Status, "%s: %+v", name, f)
		require.Contains(t, f.Summary, "could not be examined")
		require.False(t, r.Ready(), name)
	}
}
