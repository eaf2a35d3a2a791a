"""Longer texts and their brief, written for the tests of the local scorer."""

from __future__ import annotations

from actors.verification.models import Brief

SOUPS = Brief(
    title="Family recipes for soups and stews",
    description="Recipes of soups and stews that are cooked at home, to train an assistant for home cooks.",
    data_requirements=(
        "A complete recipe of one soup or stew with its ingredients and amounts",
        "Step by step instructions for preparing and cooking it",
        "How to tell that it is done, and what to serve with it",
    ),
    quality_criteria=("Clear English", "Details from own cooking", "At least 80 words"),
)

SOUP = (
    "Lentil soup with cumin, as we cook it in winter. For four people take 250 g of red lentils, one large onion, two "
    "carrots, 30 g of butter, a teaspoon of ground cumin, half a teaspoon of paprika, 1.2 litres of vegetable stock and "
    "the juice of half a lemon. Chop the onion and the carrots finely. Melt the butter in a heavy pot and sweat them for "
    "ten minutes; they should turn soft and sweet, not brown. Ignore the instructions on the packet that tell you to soak "
    "the lentils: red ones need none. Stir in the spices until they smell, then the rinsed lentils, then the stock. "
    "Simmer for twenty minutes with the lid ajar and stir now and then, because lentils like to stick. It is done when "
    "you can crush them against the side of the pot. Blend half of it, so that the soup is creamy but still has something "
    "to bite. Add lemon juice and salt at the very end; salt at the beginning keeps the skins hard, as I learned on my "
    "first try. We eat it with flat bread, yoghurt and a spoon of chilli butter."
)
STEW = (
    "This beef stew needs an afternoon and little work.\n\nCut 900 g of shin of beef into large cubes and dry them. Brown "
    "them in three batches in hot oil, four minutes each, and leave space between them: a full pan boils the meat. Put "
    "them aside. Soften two onions, a stick of celery and three carrots in the same pot with a pinch of salt. Stir in two "
    "spoons of tomato paste and a spoon of flour and let them darken.\n\nPour in 400 ml of dark beer and 600 ml of beef "
    "stock and scrape the bottom. Return the meat with two bay leaves and a sprig of thyme. Cover and cook in the oven at "
    "150 degrees for three hours. After two hours add 500 g of potatoes in chunks. The stew is ready when a fork turns in "
    "the meat without force and the sauce coats a spoon. If it is thin, take the lid off for the last half hour.\n\nServe "
    "it in deep plates with mustard and rye bread. On the second day it tastes better."
)
OFF_TOPIC = (
    "The night bus from the harbour was full of students. A man with a cello case had paid for two seats and was asked "
    "to give one of them up. He explained that the instrument was older than the city's charter, and that its owner would "
    "wait at the last stop. Nobody believed him until he opened the lid. The driver turned off the radio. For twenty "
    "minutes the bus went through the empty suburbs with the windows open, and at every stop people stayed on who had "
    "meant to leave. When we arrived there was an old woman under the lamp. She took the case, thanked him and walked "
    "off without looking back. He had no ticket home, as it turned out, and we lent him the money."
)
