package guest

import "strings"

// checkVirtioNet: the guest must have the driver of its network card, in the
// initramfs or where it is loaded from later.
var checkVirtioNet = check{"virtio-net", guideLinux, isLinux, (*exam).checkVirtioNet}

func (e *exam) checkVirtioNet(f *Finding) error {
	k := &e.kernel
	if k.version == "" {
		f.found(StatusUnknown, Evidence{}, "", "no kernel was found")
		return nil
	}
	if ev, ok := e.blacklisted("virtio_net"); ok && !k.builtin["virtio_net"] {
		f.found(StatusFail, ev, "remove the line", "virtio_net is not to be loaded: the server will have no network")
		return nil
	}
	c, err := e.initramfs()
	d := e.driver("virtio_net", c)
	switch {
	case d.builtin:
		f.ok("virtio_net is built into kernel %s", k.version)
	case d.initramfs != "":
		f.ok("the initramfs has virtio_net")
	case d.file != "" && isFile(e.tree, d.file):
		f.ok("kernel %s has virtio_net", k.version)
		f.Evidence = []Evidence{{Path: d.file}}
	case err != nil:
		return err
	case !k.known && len(k.files) == 0:
		f.found(StatusUnknown, Evidence{}, "", "the modules of kernel %s were not found", k.version)
	default:
		f.found(StatusFail, Evidence{Path: "lib/modules/" + k.version, Text: "has no virtio_net"},
			"install the package with all modules of kernel "+k.version,
			"kernel %s has no virtio_net: the server will have no network", k.version)
	}
	return nil
}

// blacklisted finds a line that keeps a module from being loaded.
func (e *exam) blacklisted(module string) (Evidence, bool) {
	for _, dir := range []string{"etc/modprobe.d", "usr/lib/modprobe.d"} {
		files := e.list(dir)
		for _, file := range files {
			if !strings.HasSuffix(file.Name(), ".conf") {
				continue
			}
			for i, line := range lines(e.tree, dir+"/"+file.Name()) {
				f := strings.Fields(strings.ReplaceAll(line, "-", "_"))
				if len(f) >= 2 && f[0] == "blacklist" && f[1] == module ||
					len(f) >= 3 && f[0] == "install" && f[1] == module && (strings.HasSuffix(f[2], "/false") || strings.HasSuffix(f[2], "/true")) {
					return Evidence{dir + "/" + file.Name(), i + 1, strings.TrimSpace(line)}, true
				}
			}
		}
	}
	return Evidence{}, false
}
