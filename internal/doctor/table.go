package doctor

// Place is what is looked at of where a provider's machines come from.
var Place = place()

// Machine is what is looked at of one machine, or of one host that exists already.
var Machine = []Check{
	{Name: "name", Judge: judgeName, Remedies: nameRemedies},
	{Name: "route", Needs: []string{"name"}, Judge: judgeRoute, Remedies: routeRemedies},
	{Name: "ssh-port", Needs: []string{"name", "route"}, Judge: judgeDial, Remedies: sshPortRemedies},
	{Name: "host-key", Needs: []string{"ssh-port"}, Judge: judgeHostKey, Remedies: hostKeyRemedies},
	{Name: "login", Needs: []string{"host-key"}, Judge: judgeLogin, Remedies: loginRemedies},
	{Name: "slots", Needs: []string{"login"}, Kinds: []Kind{SSH}, Judge: judgeSlots, Remedies: map[Reason]Remedy{
		NoCapacity: {"every slot of the host is lent out", "Wait until one is given back, or raise slots in {settings}. Slots of clients that died come free when their lease expires."},
	}},
	{Name: "sudo", Needs: []string{"login"}, Judge: judgeSudo, Remedies: map[Reason]Remedy{
		NoSudo:       {"{user} is not in the sudoers of the image", "Let {user} become root without a password (docs/howto/mac-image.md). Without, absolute paths are rewritten in scripts, and on a Mac clock, sleep and session stay as they are."},
		SudoPassword: {"sudo asks for a password, which what runs on the machine does not know", "Add a rule with NOPASSWD for {user} (docs/howto/mac-image.md), or live with absolute paths being rewritten in scripts."},
		Unknown:      {"the machine's shell does not say so", "Log in by hand and try: sudo -n true"},
	}},
	{Name: "session", Needs: []string{"login"}, Judge: judgeSession, Remedies: map[Reason]Remedy{
		NobodyLoggedIn: {"nobody is logged in at the Mac's screen, so there is no window server: simulators hang, and codesign answers that user interaction is not allowed", "Turn on automatic login of {user} in the image (docs/howto/mac-image.md), then restart it."},
		SomebodyElse:   {"another user than {user} is logged in at the Mac's screen, and a session is its user's own", "Log {user} in there, by automatic login in the image (docs/howto/mac-image.md), or log in by SSH as the one who is."},
		Background:     {"the agent was started before anybody was logged in at the screen", "Preparing the machine starts it anew; by hand, end the agent: its next start is in the right session."},
		Unknown:        {"the machine does not say who is logged in at its screen", "Log in by hand and try: stat -f %Su /dev/console"},
	}},
	{Name: "disk", Needs: []string{"login"}, Judge: judgeFree, Remedies: map[Reason]Remedy{
		DiskFull: {"the disk on which Outrigger keeps its files is full", "Free some space there, or give the image a larger disk. What interrupted runs have left goes with: outrigger gc {on}"},
		DiskLow:  {"less is free than a checkout and its build take, as a rule", "Free some space there, or give the image a larger disk."},
		Unknown:  {"df does not say", "Log in by hand and try: df -k"},
	}},
	{Name: "clock", Needs: []string{"login"}, Judge: judgeClock, Remedies: map[Reason]Remedy{
		ClockWrong: {"the machine's clock is not set by a time server, or it was resumed from a saved state", "Turn on network time in the image. Builds compare times of files of both sides, and certificates and tokens are judged by the clock."},
		Unknown:    {"the machine does not say what time it is", "Log in by hand and try: date"},
	}},
}

// place is built, since each permission is a row.
func place() []Check {
	orka := []Kind{Orka}
	table := []Check{
		{Name: "name", Kinds: orka, Judge: judgeName, Remedies: nameRemedies},
		{Name: "route", Kinds: orka, Needs: []string{"name"}, Judge: judgeRoute, Remedies: routeRemedies},
		{Name: "tcp", Kinds: orka, Needs: []string{"name", "route"}, Judge: judgeDial, Remedies: tcpRemedies},
		{Name: "tls", Kinds: orka, Needs: []string{"tcp"}, Judge: judgeTLS, Remedies: tlsRemedies},
		{Name: "api-version", Kinds: orka, Needs: []string{"tcp", "tls"}, Judge: judgeAPI, Remedies: apiRemedies},
		{Name: "token", Kinds: orka, Needs: []string{"api-version"}, Judge: judgeToken, Remedies: tokenRemedies},
		{Name: "kubernetes-api", Kinds: orka, Needs: []string{"token"}, Judge: judgeKube, Remedies: kubeRemedies},
	}
	for i, n := range Needed {
		table = append(table, Check{
			Name: "permission " + n.String(), Kinds: orka, Needs: []string{"token"}, Judge: judgeGrant(i), Remedies: map[Reason]Remedy{
				NotAllowed: {"the token's service account lacks the right: " + n.For, "Give its role: orka3 rolebinding create --serviceaccount NAME, or have the cluster's administrator do so."},
				MayNot:     {"the token's service account lacks the right: " + n.For, "Nothing, unless you want that. Else have the cluster's administrator give it: orka3 rolebinding create --serviceaccount NAME"},
				Unknown:    {"only the cluster's Kubernetes API can say what a token may, and it cannot be asked", "See kubernetes-api above. The first machine that is made will tell."},
			},
		})
	}
	return append(table,
		Check{Name: "emulator", Kinds: []Kind{QEMU}, Judge: judgeEmulator, Remedies: map[Reason]Remedy{
			NoProgram:   {"QEMU is not installed on this computer", "Install it: apt-get install qemu-system-x86 qemu-utils (on an arm64 computer qemu-system-arm)"},
			NotHere:     {"virtual machines are made on Linux, on amd64 and arm64", "Use another provider on this computer."},
			LacksTools:  {"programs are missing that images are made with", "Install them: apt-get install qemu-utils e2fsprogs"},
			NotWorking:  {"the program does not run", "Start it by hand and see what it says."},
			NoEmulation: {"accel is kvm, and this computer's KVM cannot be used", "Let this user open /dev/kvm (group kvm), or set accel: auto in {settings}."},
		}},
		Check{Name: "kvm", Kinds: []Kind{QEMU}, Needs: []string{"emulator"}, Judge: judgeKVM, Remedies: map[Reason]Remedy{
			NoKVM: {"there is no KVM for this user: guests are emulated, which is about ten times slower", "Let this user open /dev/kvm (group kvm); inside a virtual machine, turn nested virtualization on."},
		}},
		Check{Name: "image", Kinds: []Kind{Orka, QEMU}, Needs: []string{"token", "emulator"}, Judge: judgeImage, Remedies: map[Reason]Remedy{
			NoImage:    {"no image of that name is in the provider's storage", "List those that are there with: outrigger image list --on {provider}, and mend image in {settings}. An image of a registry is named with its registry: ghcr.io/macstadium/orka-images/sequoia:latest"},
			ImageState: {"it is being written, or writing it has failed", "Wait until it is Ready, or save it again: outrigger image save MACHINE {image}"},
			NotBuilt:   {"it was not built on this computer yet", "Build it: outrigger image build --on {provider}"},
			Unknown:    {"the provider cannot be asked for it", "The first machine that is made will tell."},
		}},
		Check{Name: "image-cached", Kinds: orka, Needs: []string{"token", "image"}, Judge: judgeCached, Remedies: map[Reason]Remedy{
			NotCached:   {"no machine of the image ran there yet: a node fetches an image when its first VM is made, which takes minutes", "Have the nodes fetch it beforehand: outrigger image cache --on {provider} {image}"},
			HalfCached:  {"on some nodes no machine of the image ran yet: their first takes minutes", "Have them fetch it beforehand: outrigger image cache --on {provider} {image}"},
			Unknown:     {"only the cluster's Kubernetes API says which images nodes have, and it cannot be asked", "See kubernetes-api above."},
			CacheHidden: {"the token may not look at the cluster's nodes", "Nothing: only the first machine of an image on a node takes longer."},
		}},
		Check{Name: "capacity", Kinds: []Kind{Orka, QEMU}, Needs: []string{"token", "emulator"}, Judge: judgeRoom, Remedies: map[Reason]Remedy{
			NoNodes:    {"no node that is ready may have such a machine: none belongs to the namespace, or node, tag and size fit none", "Look at the nodes: orka3 nodes list. Then mend namespace, node, tag or size in {settings}, or move a node: orka3 nodes namespace NODE NAMESPACE"},
			NoCapacity: {"the nodes are full; an Apple silicon node runs two VMs, whatever is free of it", "Wait until a machine is given back, lower warm of pools that share the cluster, or add a node. What nobody owns goes with: outrigger gc {on}"},
			AtMax:      {"as many machines exist as max allows", "Delete some, outrigger vm list shows them, or raise max in {settings}. What interrupted runs have left goes with: outrigger gc"},
			Unknown:    {"the nodes cannot be listed", "See the permissions above."},
		}},
		Check{Name: "nodes", Kinds: orka, Needs: []string{"token"}, Judge: judgeNodes, Remedies: map[Reason]Remedy{
			Silent:  {"machines are reached at the nodes' addresses, and no packet comes back from there: the route or VPN leads to the API alone, or a firewall lets only the API through", "Route the nodes' network too, allow TCP to ports 8822 and up (bridge mode: port 22 of the VMs' own network), or map the addresses with addresses in {settings}."},
			NoRoute: {"{here} knows no way to the nodes' network", "Route the nodes' network too, or map the addresses with addresses in {settings}."},
			Other:   {"the nodes cannot be connected to", "Look at the way there: docs/howto/reach.md."},
		}},
		Check{Name: "computer", Kinds: []Kind{Local}, Judge: judgeLocal, Remedies: map[Reason]Remedy{
			NotHere: {"the provider local works on Linux and macOS", "Use another provider on this computer."},
		}},
		Check{Name: "disk-here", Kinds: []Kind{QEMU, Local}, Judge: judgeDiskHere, Remedies: map[Reason]Remedy{
			DiskFull: {"the disk on which machines are made is full", "Free some space there, or set $XDG_STATE_HOME to a larger one. What interrupted runs have left goes with: outrigger gc"},
			DiskLow:  {"less is free than a machine may come to take", "Free some space there, or set $XDG_STATE_HOME to a larger one."},
			Unknown:  {"the file system does not say", "Look at the folder that is named."},
		}},
	)
}

// Needed are the rights that a token is asked for, one by one.
var Needed = []Need{
	{Verb: "list", Resource: vms, For: "machines are found by listing", REST: true},
	{Verb: "get", Resource: vms, For: "a machine is looked at until it runs"},
	{Verb: "watch", Resource: vms, For: "changes of a machine are waited for", Optional: true},
	{Verb: "create", Resource: vms, For: "machines are made"},
	{Verb: "delete", Resource: vms, For: "machines are given back"},
	{Verb: "list", Resource: nodes, For: "whether there is room is seen from the nodes", REST: true},
	{Verb: "get", Resource: images, Shared: true, For: "an image that is missing is told from other mistakes", REST: true},
	{Verb: "create", Resource: images, Shared: true, For: "outrigger image save and build", Optional: true},
	{Verb: "delete", Resource: images, Shared: true, For: "outrigger image delete", Optional: true},
	{Verb: "list", Resource: pods, For: "outrigger image push sees its push to the end", Optional: true},
}

// Resources of an Orka, as its Kubernetes API calls them.
const (
	vms    = "virtualmachineinstances"
	nodes  = "orkanodes"
	images = "images"
	pods   = "pods"
)

// A Need is a right that a token needs.
type Need struct {
	Verb, Resource string
	Shared         bool   // in the namespace of what all namespaces share, not the provider's own
	For            string // what needs it
	Optional       bool   // making machines does without
	REST           bool   // the REST API can be tried for it without doing anything
}

// Group is the API group of the resource.
func (n Need) Group() string {
	if n.Resource == pods {
		return ""
	}
	return "orka.macstadium.com"
}

// String says it in a user's words.
func (n Need) String() string {
	what := map[string]string{vms: "VMs", nodes: "nodes", images: "images", pods: "pods"}[n.Resource]
	return n.Verb + " " + what
}

// Reasons of single checks.
const (
	NoCapacity     Reason = "NoCapacity"
	NoNodes        Reason = "NoNodes"
	AtMax          Reason = "AtMax"
	NotAllowed     Reason = "NotAllowed"
	MayNot         Reason = "MayNot"
	NoSudo         Reason = "NoSudo"
	SudoPassword   Reason = "SudoWithPassword"
	NobodyLoggedIn Reason = "NobodyLoggedIn"
	SomebodyElse   Reason = "SomebodyElse"
	Background     Reason = "Background"
	DiskFull       Reason = "DiskFull"
	DiskLow        Reason = "DiskLow"
	ClockWrong     Reason = "ClockWrong"
	NoImage        Reason = "NoImage"
	ImageState     Reason = "ImageState"
	NotBuilt       Reason = "NotBuilt"
	NotCached      Reason = "NotCached"
	HalfCached     Reason = "HalfCached"
	CacheHidden    Reason = "CacheHidden"
	NoProgram      Reason = "NoProgram"
	LacksTools     Reason = "LacksTools"
	NotWorking     Reason = "NotWorking"
	NoEmulation    Reason = "NoEmulation"
	NoKVM          Reason = "NoKVM"
	KeyChanged     Reason = "KeyChanged"
	KeyUnknown     Reason = "KeyUnknown"
	KeyUnpinned    Reason = "KeyUnpinned"
	LoginRefused   Reason = "LoginRefused"
	NoLogin        Reason = "NoLogin"
	TokenMissing   Reason = "TokenMissing"
	TokenRefused   Reason = "TokenRefused"
	TokenEnded     Reason = "TokenEnded"
	TokenEnds      Reason = "TokenEnds"
	OldAPI         Reason = "OldAPI"
	NoAPI          Reason = "NoAPI"
	OtherAPI       Reason = "OtherAPI"
	PlainText      Reason = "PlainText"
	CertEnds       Reason = "CertEnds"
)
