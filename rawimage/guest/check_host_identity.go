package guest

import (
	"io/fs"
	"strings"
)

// checkHostIdentity: what identifies the source machine is shared by every server
// made from the image.
var checkHostIdentity = check{"host-identity", guideLinux, isLinux, (*exam).checkHostIdentity}

func (e *exam) checkHostIdentity(f *Finding) error {
	const shared = "every server made from the image shares %s"
	files := e.list("etc/ssh")
	renewed := e.cloudInitEnabled() // makes host keys for each server
	for _, k := range files {
		if n := k.Name(); strings.HasPrefix(n, "ssh_host_") && strings.HasSuffix(n, "_key") && !renewed {
			f.found(StatusWarn, Evidence{Path: "etc/ssh/" + n}, "rm /etc/ssh/ssh_host_*", shared, "the SSH host keys of the source")
		}
	}
	if id := lines(e.tree, "etc/machine-id"); len(id) > 0 && len(strings.TrimSpace(id[0])) == 32 {
		f.found(StatusWarn, Evidence{"etc/machine-id", 1, id[0]}, "truncate -s 0 /etc/machine-id", shared, "the machine ID of the source")
	}
	homes := []string{"root"}
	if dirs, err := e.tree.ReadDir("home"); err == nil {
		for _, d := range dirs[:min(len(dirs), 100)] {
			homes = append(homes, "home/"+d.Name())
		}
	}
	for _, home := range homes {
		for _, file := range []struct{ name, what string }{
			{".ssh/authorized_keys", "authorized keys of the source"}, {".ssh/id_rsa", "a private SSH key"}, {".ssh/id_ed25519", "a private SSH key"},
			{".bash_history", "the command history of the source"},
		} {
			if i, err := fs.Stat(e.tree, home+"/"+file.name); err == nil && i.Size() > 0 {
				f.found(StatusWarn, Evidence{Path: home + "/" + file.name}, "rm /"+home+"/"+file.name, shared, file.what)
			}
		}
	}
	f.ok("nothing identifies the source machine")
	return nil
}
