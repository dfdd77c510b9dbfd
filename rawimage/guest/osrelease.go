package guest

import (
	"debug/elf"
	"io"
	"regexp"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// releaseFile is a file that older distributions name themselves in.
type releaseFile struct {
	path, id string
}

var releaseFiles = []releaseFile{
	{"etc/euleros-release", "euleros"}, {"etc/openEuler-release", "openeuler"}, {"etc/oracle-release", "ol"},
	{"etc/rocky-release", "rocky"}, {"etc/almalinux-release", "almalinux"}, {"etc/centos-release", "centos"},
	{"etc/fedora-release", "fedora"}, {"etc/system-release", ""}, {"etc/redhat-release", ""}, {"etc/SuSE-release", ""},
	{"etc/SUSE-brand", ""}, {"etc/neokylin-release", "neokylin"}, {"etc/kylin-release", "kylin"},
	{"etc/alpine-release", "alpine"}, {"etc/arch-release", "arch"},
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)*`)

// osFacts tells the distribution, by its own files.
func (e *exam) osFacts() {
	o := &e.report.OS
	o.Type = "linux"
	osRelease(e.tree, o)
	for _, f := range releaseFiles {
		p, err := e.tree.ReadSmall(f.path, 64<<10)
		if err == nil {
			e.release(f, strings.TrimSpace(string(p)))
		}
	}
	if p, err := e.tree.ReadSmall("etc/debian_version", 4096); err == nil {
		debianVersion(o, strings.TrimSpace(string(p)))
	}
	if o.Pretty == "" {
		o.Pretty = strings.TrimSpace(o.Name + " " + o.Version)
	}
	e.report.Architecture = architecture(e.tree)
}

// osRelease reads os-release.
func osRelease(t *vfs.Tree, o *OS) {
	for _, p := range []string{"etc/os-release", "usr/lib/os-release"} {
		list := lines(t, p)
		for _, line := range list {
			key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if !ok {
				continue
			}
			value = clip(strings.Trim(value, `"'`))
			switch key {
			case "ID":
				o.ID = strings.ToLower(value)
			case "ID_LIKE":
				o.IDLike = strings.Fields(value)
			case "NAME":
				o.Name = value
			case "VERSION_ID":
				o.Version = value
			case "PRETTY_NAME":
				o.Pretty = value
			}
		}
		if list != nil {
			return
		}
	}
}

// release takes the text of a release file, which knows the version more exactly
// than os-release.
func (e *exam) release(f releaseFile, text string) {
	o := &e.report.OS
	first, rest, _ := strings.Cut(text, "\n")
	id := f.id
	if id == "" {
		id = releaseID(first)
	}
	if o.ID == "" {
		o.ID, o.Pretty = id, clip(first)
		name, _, _ := strings.Cut(first, " release")
		name, _, _ = strings.Cut(name, " (")
		o.Name = clip(strings.TrimSpace(versionNumber.ReplaceAllString(name, "")))
	}
	if id != o.ID && f.id != "" {
		return
	}
	_, after, ok := strings.Cut(first, "release ")
	if !ok {
		after = first
	}
	v := versionNumber.FindString(after)
	if f.path == "etc/SuSE-release" {
		if level := suseLevel(rest); level != "" && level != "0" && !strings.Contains(v, ".") {
			v += "." + level
		}
	}
	if o.ID == "euleros" {
		o.Version = eulerVersion(first, v)
		return
	}
	if v != "" && (o.Version == "" || strings.HasPrefix(v, o.Version)) {
		o.Version = v
	}
}

// eulerVersion knows EulerOS 2.0 (SP9) as 2.9, as the service does.
func eulerVersion(text, v string) string {
	if _, sp, ok := strings.Cut(text, "(SP"); ok && v == "2.0" {
		return "2." + versionNumber.FindString(sp)
	}
	return v
}

// suseLevel returns PATCHLEVEL of /etc/SuSE-release.
func suseLevel(text string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "PATCHLEVEL" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func releaseID(text string) string {
	for _, m := range []struct{ in, id string }{
		{"CentOS", "centos"}, {"Red Hat", "rhel"}, {"Oracle", "ol"}, {"Rocky", "rocky"}, {"AlmaLinux", "almalinux"},
		{"Fedora", "fedora"}, {"EulerOS", "euleros"}, {"openEuler", "openeuler"}, {"Amazon", "amzn"}, {"openSUSE", "opensuse"},
		{"SUSE", "sles"}, {"NeoKylin", "neokylin"}, {"Kylin", "kylin"}, {"Scientific", "scientific"},
	} {
		if strings.Contains(text, m.in) {
			return m.id
		}
	}
	return ""
}

func debianVersion(o *OS, v string) {
	if o.ID == "" {
		o.ID, o.Name = "debian", "Debian GNU/Linux"
	}
	if o.ID == "debian" && versionNumber.FindString(v) == v && v != "" {
		o.Version = v
	}
}

// architecture tells what the guest's programs are made for.
func architecture(t *vfs.Tree) string {
	for _, p := range []string{"bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/bash", "bin/busybox", "usr/lib/systemd/systemd", "sbin/init", "bin/ls", "usr/bin/ls"} {
		f, err := t.Open(p)
		if err != nil {
			continue
		}
		var h [20]byte
		_, err = io.ReadFull(f, h[:])
		_ = f.Close()
		if err != nil || string(h[:4]) != elf.ELFMAG {
			continue
		}
		machine := elf.Machine(h[18]) | elf.Machine(h[19])<<8
		if h[5] == byte(elf.ELFDATA2MSB) {
			machine = elf.Machine(h[18])<<8 | elf.Machine(h[19])
		}
		if name := machineName(machine); name != "" {
			return name
		}
	}
	return ""
}

func machineName(m elf.Machine) string {
	return map[elf.Machine]string{
		elf.EM_X86_64: "x86_64", elf.EM_386: "i686", elf.EM_AARCH64: "aarch64", elf.EM_ARM: "arm", elf.EM_PPC64: "ppc64",
		elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64", elf.EM_LOONGARCH: "loongarch64", elf.EM_MIPS: "mips",
	}[m]
}
