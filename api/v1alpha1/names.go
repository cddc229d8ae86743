package v1alpha1

// What a user writes on a Pod, or on what makes Pods.
const (
	AnnotationPool       = "outrigger.dev/pool"       // the name of a MachinePool
	AnnotationContainers = "outrigger.dev/containers" // which containers run on the machine: "*", "build,test", "!lint"
	AnnotationExclude    = "outrigger.dev/exclude"    // gitignore-style patterns, one per line, "volume:pattern" for one volume
	AnnotationSyncPrefix = "outrigger.dev/sync."      // + volume: both, up or none
	AnnotationImage      = "outrigger.dev/image"      // a machine image other than the pool's
	AnnotationKeep       = "outrigger.dev/keep"       // a duration: keep the machine after a failure
	AnnotationNetwork    = "outrigger.dev/network"    // "cluster"
	AnnotationServices   = "outrigger.dev/services"   // "postgres.db:5432, 8080=web:80": the machine's loopback port to a Service
	AnnotationPriority   = "outrigger.dev/priority"   // an integer, higher is served first
)

// What Outrigger writes on what it makes or changes.
const (
	// LabelClaim on a Pod names its MachineClaim; the webhook sets it, and so
	// marks the Pod as rewritten.
	LabelClaim = "outrigger.dev/claim"
	// LabelPool on Machines, claims and Secrets names the pool.
	LabelPool = "outrigger.dev/pool-name"
	// LabelImage on a MachineClaim names the MachineImage that is built with it.
	LabelImage = "outrigger.dev/machine-image"
	// AnnotationBuilds on such a claim names the image that is to be built.
	AnnotationBuilds = "outrigger.dev/builds"
	// LabelMachine on Secrets names the Machine whose login they hold.
	LabelMachine = "outrigger.dev/machine"
	// AnnotationRequest on a Pod is what the webhook found out for the claim:
	// JSON of a MachineClaimSpec.
	AnnotationRequest = "outrigger.dev/request"
	// AnnotationMadeFor on a Machine is the UID of the claim that it was made
	// for, since that asks for an image of its own. No other claim may have it.
	AnnotationMadeFor = "outrigger.dev/made-for"
	// AnnotationMachine on a Pod names the machine that it runs on.
	AnnotationMachine = "outrigger.dev/machine"
	// AnnotationImages on a Pod has the images that its containers had before
	// relays took their place, for people: JSON, by container.
	AnnotationImages = "outrigger.dev/images"
	// ResultsLeft says that results of a Pod are still on its machine, since they did not all come back. A relay
	// that ends so puts the line "outrigger.dev/results-left: TEXT" into its container's termination message (in a
	// list of Tekton's results: the value TEXT of an internal result of that key). Whoever may change the claim
	// can annotate it with this name and TEXT. Either way the claim keeps its machine for a while: see [KeepSpec].
	ResultsLeft = "outrigger.dev/results-left"
	// AnnotationFieldPrefix + a number on a Pod has that number, for files of the downward API
	// that say what a container may use: of a relayed one the kubelet would say what its relay may.
	AnnotationFieldPrefix = "outrigger.dev/field-"
	// Gate is the scheduling gate of a Pod that waits for a machine.
	Gate = "outrigger.dev/machine"
	// FinalizerMachine keeps a Machine until its provider has deleted it.
	FinalizerMachine = "outrigger.dev/machine"
	// FinalizerPool keeps a MachinePool until none of its machines is left.
	FinalizerPool = "outrigger.dev/pool"
	// FinalizerImage keeps a MachineImage until its build has ended and its images
	// are what its deletionPolicy says.
	FinalizerImage = "outrigger.dev/image"
	// PodMachineBound is the condition of a Pod that says how it stands with its
	// machine: False while it waits, with its place in the queue.
	PodMachineBound = "outrigger.dev/MachineBound"
)
