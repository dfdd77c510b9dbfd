package guest

import "strings"

// checkSerialConsole: without a serial console the console log of a server is
// empty.
var checkSerialConsole = check{"serial-console", guideLinux, isLinux, (*exam).checkSerialConsole}

func (e *exam) checkSerialConsole(f *Finding) error {
	if e.entry == nil {
		f.found(StatusUnknown, Evidence{}, "", "no boot loader entry was found")
		return nil
	}
	want := "console=ttyS0"
	if e.report.Architecture == "aarch64" {
		want = "console=ttyAMA0"
	}
	if !strings.Contains(e.entry.Options, want) {
		f.found(StatusNote, Evidence{e.entry.Path, e.entry.Line, e.entry.Options},
			"add "+want+",115200 console=tty0 to the kernel's command line, "+e.bootConfigFix(),
			"the kernel's command line has no %s: the console log of servers will be empty", want)
	}
	f.ok("the kernel writes to the serial console")
	return nil
}
