package guest

import (
	"bytes"
	"io"

	"github.com/fastimage/fastimage/rawimage/guest/internal/ntfs"
)

// checkWindowsHibernation: Windows must have been shut down, not hibernated; with
// fast start-up a shut-down hibernates too.
var checkWindowsHibernation = check{"windows-hibernation", guideWindows, isWindows, (*exam).checkWindowsHibernation}

func (e *exam) checkWindowsHibernation(f *Finding) error {
	const fix = "powercfg /hibernate off, then: shutdown /s /t 0"
	if file, err := e.tree.Open("hiberfil.sys"); err == nil {
		defer file.Close()
		var magic [4]byte
		if _, err := io.ReadFull(file, magic[:]); err == nil && bytes.EqualFold(magic[:], []byte("hibr")) {
			f.found(StatusWarn, Evidence{Path: "hiberfil.sys", Text: string(magic[:])}, fix, "Windows is hibernated, or was shut down with fast start-up")
		}
	}
	if fs, err := e.root.FS(); err == nil {
		if n, ok := fs.(*ntfs.FS); ok && n.Dirty() {
			f.found(StatusWarn, Evidence{Path: e.root.Name, Text: "NTFS dirty flag"}, "chkdsk C: /f, then: shutdown /s /t 0", "the file system was not unmounted")
		}
	}
	if e.win.system.Dirty {
		f.found(StatusWarn, Evidence{Path: windowsHive}, "shutdown /s /t 0", "the registry was not written back: Windows was not shut down")
	}
	f.ok("Windows was shut down")
	return nil
}
