"""Jobs as plain processes of a host: the adapter for machines that no scheduler looks after."""
