"""Texts about nothing in particular: how near these come to a brief is how near anything comes.

The cosine's scale is the model's own (unrelated texts: 0.1 for MiniLM, 0.7 for E5) and the brief's. Written for this.
"""

BACKGROUND = (
    "what is the weather like tomorrow morning",
    "how do I reset my password",
    "the train was late again and I missed the meeting",
    "can you lend me your ladder on Saturday",
    "which team won the match last night",
    "please turn the volume down a little",
    "my phone does not charge any more",
    "I would like to open a savings account",
    "tell me a joke about penguins",
    "how old is the universe",
    "remind me to call my sister at six",
    "where did you buy those shoes",
    "what does this word mean",
    "who wrote that song",
    "is the pharmacy open on Sundays",
    "my back hurts when I sit for too long",
    "The committee postponed its vote until the auditors have handed in their report.",
    "Photosynthesis turns light into chemical energy that plants store as sugar.",
    "She closed the window, put the letter back into its envelope and said nothing for a while.",
    "Shares of the shipping company fell by four percent after the announcement.",
    "The castle was built in the twelfth century and burnt down twice.",
    "Sort the list, drop the duplicates and write the result to a file.",
    "The nurse checked the patient's blood pressure and wrote it on the chart.",
    (
        "Rain fell on the tin roof all night, and in the morning the river had risen to the second step of the pier. The "
        "ferryman tied his boat to the lamp post and waited."
    ),
    (
        "Our lease ends in March. The landlord wants to raise the rent by eight percent; we have asked him to repair the "
        "heating first, and he has not answered yet."
    ),
    (
        "The court held that the contract was void because one party had been deceived about the area of the land. Damages "
        "were limited to the price paid and the costs of registration."
    ),
    (
        "To assemble the shelf, screw the two side panels to the base, slide in the back wall and fix it with eight nails. "
        "Check with a level that it stands straight."
    ),
    (
        "Whales breathe air. Before a dive they exchange nine tenths of the air in their lungs, far more than we do, and "
        "their muscles hold oxygen for an hour under water."
    ),
    (
        "The orchestra began with an overture that hardly anybody knew. After the interval the pianist played the concerto "
        "without a score, and the hall stood up before the last chord had died away."
    ),
    (
        "Version 3 of the library drops the old configuration format. Rename the key, move the section to the top level, and "
        "run the test suite; a warning names every setting that is no longer read."
    ),
    (
        "I have worked as a teacher for twenty years. Children learn to read when somebody reads to them, and they learn to "
        "count when they have something to share out."
    ),
    (
        "Quarterly revenue rose to 41 million, while costs for staff and energy grew faster. The board expects a small loss "
        "for the year and has stopped hiring."
    ),
    (
        "Stretch both calves before running. Start with ten slow minutes, then run one minute fast and two minutes slowly, "
        "eight times. Drink before you are thirsty."
    ),
    (
        "The painting shows a woman at a table with a jug. Light comes from the left; the wall behind her is bare but for a "
        "nail and its shadow."
    ),
    (
        "Two brothers inherit a farm and quarrel over a well. The film takes its time, and its best scene is a silent one in "
        "which they mend a fence together."
    ),
    (
        "Plants in the shade of a wall need less water than you think. Prune them in late winter, and do not feed them before "
        "the first leaves show."
    ),
)
